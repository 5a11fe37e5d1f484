"""Sets of one individual: shuffled and cut, dealt over contexts, or windows of steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mining.strategies.individual_rows import RangeItem, list_range
from mining.strategies.individual_sets import BucketItem, cut_sets, deal_sets, make_sets, read_sets, step_windows
from tests.mining.conftest import mining_context
from tests.mining.worlds import mining_store


def test_the_rows_of_an_individual_are_cut_into_sets_without_a_remainder() -> None:
    entity = np.array([0, 1, 0, 0, 1, 0, 0, 2])
    sets = cut_sets(entity, np.arange(8) * 10, 2, 0)
    assert sets.shape == (3, 2)
    assert (entity[sets][:, 0] == entity[sets][:, 1]).all()
    assert len(np.unique(sets)) == 6
    assert cut_sets(entity[:0], entity[:0], 2, 0).shape == (0, 2)


def test_sets_over_contexts_use_every_context_they_can() -> None:
    context = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    sets = deal_sets(np.zeros(8, np.int64), context, np.arange(8), 2, 3)
    assert (context[sets][:, 0] != context[sets][:, 1]).all()
    assert len(sets) >= 3
    alone = deal_sets(np.zeros(4, np.int64), np.zeros(4, np.int64), np.arange(4), 2, 3)
    assert len(alone) == 0  # always in one place


def test_windows_take_one_image_a_step_and_every_short_story_once() -> None:
    entity = np.array([0, 0, 0, 0, 1, 1, 2])
    place = np.array([0, 1, 1, 2, 0, 3, 5])  # story 0 has two images of its second step
    windows = step_windows(entity, place, np.arange(7), 3, 0)
    assert [each.shape for each in windows] == [(1, 2), (1, 3)]
    assert windows[0].tolist() == [[4, 5]]
    assert windows[1][0, [0, 2]].tolist() == [0, 3]
    second = {int(step_windows(entity, place, np.arange(7), 3, seed)[1][0, 1]) for seed in range(20)}
    assert second == {1, 2}


def test_the_files_of_a_bucket_are_read_when_it_is_made_again(tmp_path: Path) -> None:
    extra = [json.dumps({"who": "ann" if row % 2 else "bob" if row else "eve"}) for row in range(12)]
    store = mining_store(tmp_path, rows=12, extra=extra)
    ctx = mining_context(store, tmp_path, "identity", entity="who")
    list_range(RangeItem("000000", 0, 12, 1, ("extra", "", "")), ctx)
    item = BucketItem("0000", 0, ("000000",), 4, 1.0)
    made = make_sets(item, ctx)
    assert (made.alone, made.one_step, made.other_side) == (1, 0, 0)  # eve
    assert make_sets(item, ctx) == made
    table = read_sets(ctx, item)
    assert set(table["entity"].to_pylist()) == {"ann", "bob"}
    rows = [tuple(each) for each in table["rows"].to_pylist()]
    assert len(set(rows)) == len(rows) > 6
    half = BucketItem("half", 0, ("000000",), 4, 0.5)
    make_sets(half, ctx)
    assert set(map(tuple, read_sets(ctx, half)["rows"].to_pylist())) < set(rows)
