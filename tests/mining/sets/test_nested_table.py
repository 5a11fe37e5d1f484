"""Image sets as one table with the members nested."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mining.sets.layouts import read_layout
from mining.sets.nested_table import NESTED_SCHEMA, nested_table
from tests.mining.made_sets import write_foreign_sets


def test_each_set_has_its_members_in_their_order(tmp_path: Path) -> None:
    names = [[f"{number}-{member}.jpg" for member in range(2 + number % 3)] for number in range(7)]
    sets = write_foreign_sets(tmp_path, names)
    layout = read_layout(sets.path)
    chosen = np.array([5, 0, 1, 4])
    table = nested_table(layout, chosen)
    assert table.schema.equals(NESTED_SCHEMA)
    for row, own in zip(table.to_pylist(), sets.select(chosen), strict=True):
        assert (row["set_id"], row["strategy"], row["size"]) == (own.set_id, own.strategy, len(own.members))
        assert [(each["path"], each["caption"]) for each in row["members"]] == [
            (each.path, each.caption) for each in own.members
        ]


def test_no_sets_and_some_columns(tmp_path: Path) -> None:
    layout = read_layout(write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]]).path)
    assert nested_table(layout, np.array([], np.int64), ["size", "members"]).schema.names == ["size", "members"]
    assert nested_table(layout, np.array([0]), ["size"]).to_pylist() == [{"size": 2}]
