"""Batches follow from seed and step, an epoch has each row once, and large data are read shard by shard."""

from __future__ import annotations

import numpy as np
import pytest

from customize.clip.train.schedule import BatchOrder, learning_rate


def epoch(order: BatchOrder, number: int) -> list[int]:
    steps = range(number * order.steps_per_epoch, (number + 1) * order.steps_per_epoch)
    return [int(row) for step in steps for row in order.rows(step)]


def test_an_epoch_has_each_row_once_and_skips_what_fills_no_batch() -> None:
    order = BatchOrder(np.zeros(33, np.int32), 8, seed=0)
    assert order.steps_per_epoch == 4
    first, second = epoch(order, 0), epoch(order, 1)
    assert len(set(first)) == len(set(second)) == 32
    assert set(first) <= set(range(33))
    assert first != second


def test_a_step_has_the_same_rows_whatever_was_read_before() -> None:
    shards = np.zeros(33, np.int32)
    order = BatchOrder(shards, 8, seed=3)
    expected = [order.rows(step).tolist() for step in range(12)]
    assert BatchOrder(shards, 8, seed=3).rows(10).tolist() == expected[10]
    assert BatchOrder(shards, 8, seed=4).rows(10).tolist() != expected[10]


def test_beyond_the_window_rows_are_shuffled_within_a_few_shards() -> None:
    shards = np.repeat(np.arange(10), 100)
    order = BatchOrder(shards, 50, seed=0, window=200)
    rows = epoch(order, 0)
    assert sorted(rows) == list(range(1000))
    for first in range(0, 1000, 200):
        assert len(set(shards[rows[first : first + 200]])) == 2
    assert rows[:100] != sorted(rows[:100])


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = [learning_rate(step, 110, 10, 2.0) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.0, abs=1e-3)
    assert learning_rate(0, 10, 0, 2.0) == 2.0
