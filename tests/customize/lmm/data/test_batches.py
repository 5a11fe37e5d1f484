"""Batches of one kind and similar lengths, shares of equal tokens, parts and packed rows within their budget."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from customize.lmm.data.batches import BatchPlan, packed_rows, padded_parts, share_batch
from customize.lmm.data.source import Numbers
from index.errors import BadInput

CHANCE = np.random.default_rng(0)
LENGTHS = CHANCE.integers(5, 500, 1000).astype(np.int32)
IMAGES = CHANCE.integers(0, 2, 1000).astype(np.int32)


def order(epoch: int) -> Numbers:
    return np.random.default_rng(epoch).permutation(1000)


def plan(**choices: Any) -> BatchPlan:
    return BatchPlan(order, 1000, LENGTHS, IMAGES, **{"batch_size": 16, "window": 8, **choices})


@pytest.mark.parametrize("grouping", ["length", "random"])
@pytest.mark.parametrize("size", [1, 16, 999, 1000, 2000])
def test_an_epoch_takes_each_sample_once(grouping: str, size: int) -> None:
    found = plan(grouping=grouping, batch_size=size)
    for epoch in (0, 1):
        steps = range(epoch * found.steps_per_epoch, (epoch + 1) * found.steps_per_epoch)
        batches = [found.batch(step) for step in steps]
        assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
        assert [len(each) for each in batches[:-1]] == [size] * (found.steps_per_epoch - 1)


def test_batches_follow_from_seed_and_step_alone() -> None:
    whole = [plan().batch(step).tolist() for step in range(70)]
    assert [plan().batch(step).tolist() for step in reversed(range(70))] == whole[::-1]
    assert [plan(seed=1).batch(step).tolist() for step in range(70)] != whole


def test_batches_are_of_one_kind_and_of_similar_lengths() -> None:
    def spread(found: BatchPlan) -> float:
        """The share of padding in batches that are padded to their longest sample."""
        batches = [LENGTHS[found.batch(step)] for step in range(found.steps_per_epoch)]
        return 1 - sum(int(each.sum()) for each in batches) / sum(len(each) * int(each.max()) for each in batches)

    grouped = plan()
    kinds = [len(set((IMAGES[grouped.batch(step)] > 0).tolist())) for step in range(grouped.steps_per_epoch)]
    assert Counter(kinds)[2] <= 2  # what is left over at the end, and the last batch
    assert spread(grouped) < 0.5 * spread(plan(grouping="random"))


def test_the_order_of_the_batches_does_not_follow_their_lengths() -> None:
    grouped = plan()
    means = [LENGTHS[grouped.batch(step)].mean() for step in range(grouped.steps_per_epoch)]
    assert abs(float(np.corrcoef(means, np.arange(len(means)))[0, 1])) < 0.4


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_workers_share_a_batch_without_loss_and_with_equal_tokens(workers: int) -> None:
    batch = plan(grouping="random", batch_size=64).batch(3)
    shares = share_batch(batch, LENGTHS, workers)
    assert sorted(np.concatenate(shares).tolist()) == sorted(batch.tolist())
    tokens = [int(LENGTHS[share].sum()) for share in shares]
    assert max(tokens) - min(tokens) <= 500


def test_more_workers_than_samples_leave_some_without() -> None:
    shares = share_batch(np.array([3, 4]), LENGTHS, 4)
    assert sorted(map(len, shares)) == [0, 0, 1, 1]


@pytest.mark.parametrize("budget", [1, 600, 4000])
def test_padded_parts_stay_within_the_budget(budget: int) -> None:
    own = plan(grouping="random", batch_size=64).batch(0)
    parts = padded_parts(own, LENGTHS, budget)
    assert sorted(np.concatenate(parts).tolist()) == sorted(own.tolist())
    for part in parts:
        assert len(part) == 1 or len(part) * int(LENGTHS[part].max()) <= budget


@pytest.mark.parametrize("budget", [1, 600, 4000])
def test_packed_rows_stay_within_the_budget_and_are_few(budget: int) -> None:
    own = plan(grouping="random", batch_size=128).batch(0)
    rows = packed_rows(own, LENGTHS, budget)
    assert sorted(np.concatenate(rows).tolist()) == sorted(own.tolist())
    assert all(len(row) == 1 or int(LENGTHS[row].sum()) <= budget for row in rows)
    assert len(rows) <= 11 / 9 * max(1, np.ceil(LENGTHS[own].sum() / budget)) + 6 / 9 or budget == 1
    assert [row.tolist() for row in packed_rows(own, LENGTHS, budget)] == [row.tolist() for row in rows]


def test_nothing_gives_no_parts() -> None:
    nothing = np.zeros(0, np.int64)
    assert padded_parts(nothing, LENGTHS, 10) == packed_rows(nothing, LENGTHS, 10) == []


def test_plans_without_meaning_are_told() -> None:
    with pytest.raises(BadInput, match="at least one sample"):
        plan(batch_size=0)
    with pytest.raises(BadInput, match="choose length or random"):
        plan(grouping="colour")
