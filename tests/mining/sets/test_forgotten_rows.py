"""What the stores of image sets have forgotten, and the sets in the stores' registers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index.errors import StoreInvalid
from index.store.output_register import holding_outputs, registered_outputs
from mining.sets.forgotten_rows import forgotten_rows, register_image_sets
from tests.mining.made_sets import write_foreign_sets, write_sets
from tests.retrieval.stores import forget, make_store, random_unit


def test_each_stores_forgotten_rows_come_by_the_name_of_its_source(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    (name,) = sets.sources
    assert forgotten_rows(sets.sources, sets.path) == {}
    forget(sets.store(), [7, 2])
    assert {own: rows.tolist() for own, rows in forgotten_rows(sets.sources, sets.path).items()} == {name: [2, 7]}


def test_a_store_that_is_not_there_cannot_be_asked_unless_it_is_named(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    forget(sets.store(), [1])
    shutil.move(tmp_path / "store", tmp_path / "moved")
    assert forgotten_rows(sets.sources, sets.path) == {}
    assert [rows.tolist() for rows in forgotten_rows(sets.sources, sets.path, tmp_path / "moved").values()] == [[1]]
    other = make_store(tmp_path / "other", random_unit(5))
    forget(other, [0])
    with pytest.raises(StoreInvalid, match="is not the store that"):
        forgotten_rows(sets.sources, sets.path, other.path)
    shutil.copytree(other.path, tmp_path / "store")
    assert forgotten_rows(sets.sources, sets.path) == {}


def test_image_sets_stand_in_the_register_of_their_store(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [1, 2]])
    store = sets.store()
    assert [(output.kind, output.path) for output in registered_outputs(store)] == [("image sets", sets.path)]
    forget(store, [1, 5])
    assert [output.rows for output in holding_outputs(store)] == [1]
    foreign = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    register_image_sets(foreign.path, foreign.sources)
    assert len(registered_outputs(store)) == 1
