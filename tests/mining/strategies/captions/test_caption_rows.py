"""The rows that are parsed: all of them or runs drawn by the seed, in items of bounded size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mining.strategies.captions import caption_rows
from mining.strategies.captions.caption_rows import (
    LARGEST_SHARE,
    MOST_ITEMS,
    captions_of,
    row_slices,
    rows_of,
)
from mining.strategies.minable import minable_rows
from tests.mining.worlds import captions_context


def test_rows_are_cut_into_items_of_at_most_an_eighth_and_not_into_too_many() -> None:
    for count in (1, 7, 100, 5_000_000, 400_000_000):
        slices = row_slices(count)
        assert [each.start for each in slices[1:]] == [each.stop for each in slices[:-1]]
        assert (slices[0].start, slices[-1].stop) == (0, count)
        assert len(slices) <= MOST_ITEMS
        assert slices[0].stop <= max(1, count // LARGEST_SHARE)


def test_of_400_million_rows_about_a_million_are_taken_from_all_over_the_store() -> None:
    slices = row_slices(400_000_000, 1 << 20)
    taken = sum((each.runs or 0) * caption_rows.RUN_ROWS for each in slices)
    assert 0.9 < taken / (1 << 20) < 1.1
    assert [each.start for each in slices[1:]] == [each.stop for each in slices[:-1]]
    assert (slices[0].start, slices[-1].stop) == (0, 400_000_000)


def test_a_store_that_is_small_enough_is_taken_whole() -> None:
    assert row_slices(5_000, 5_000) == row_slices(5_000)
    assert all(each.runs is None for each in row_slices(5_000, 5_000))


def test_runs_are_drawn_without_repeats_and_the_same_on_every_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_rows, "RUN_ROWS", 5)
    ctx = captions_context(tmp_path, ["a dog"] * 400)
    minable = minable_rows(ctx, ctx.open_store())
    slices = row_slices(400, 160)
    rows = np.concatenate([rows_of(each, ctx, minable) for each in slices])
    assert len(rows) == 160
    assert (np.diff(rows) > 0).all()
    again = np.concatenate([rows_of(each, ctx, minable) for each in slices])
    assert (rows == again).all()


def test_the_texts_of_a_row_are_its_caption_or_all_distinct_ones() -> None:
    table = pa.table({"caption": ["a", None, "b"], "captions": [["a", "c", "a"], ["d"], None]})
    assert captions_of(table, "caption") == [["a"], [], ["b"]]
    assert captions_of(table, "all") == [["a", "c"], ["d"], ["b"]]
