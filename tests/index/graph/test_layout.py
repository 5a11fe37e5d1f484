"""A layout reads back as it was written, and says which files it has."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from index.graph.layout import Grouping, Layout, RowList, ShardFile

FILES = [ShardFile(f"{number:016x}.rows.npy", 100 + number, "0" * 64) for number in range(6)]
LISTS = (RowList(10, FILES[2], FILES[3]), RowList(9, FILES[4], FILES[5]))
LAYOUT = Layout(FILES[0], (Grouping(0, 19, "source", FILES[1], LISTS),))


def test_a_layout_reads_back_as_it_was_written() -> None:
    assert Layout.from_json(json.loads(json.dumps(asdict(LAYOUT)))) == LAYOUT
    assert Layout.from_json(None) is None


def test_its_rows_and_files() -> None:
    assert list(LAYOUT.files()) == FILES[:2]
    assert list(LAYOUT.all_files()) == FILES
    grown = replace(LAYOUT, groupings=(*LAYOUT.groupings, Grouping(19, 5, "more", FILES[1], LISTS[:1])))
    assert (LAYOUT.rows, grown.rows) == (19, 24)


def test_groupings_that_do_not_follow_each_other_or_hold_other_rows_are_refused() -> None:
    LAYOUT.check()
    first = LAYOUT.groupings[0]
    for grouping in (
        replace(first, first_row=1),
        replace(first, rows=20),
        replace(first, rows="19"),  # type: ignore[arg-type]
        replace(first, lists=()),
    ):
        with pytest.raises(ValueError, match="row"):
            replace(LAYOUT, groupings=(grouping,)).check()
