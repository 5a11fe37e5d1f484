"""Which rows may be mined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningConfig
from mining.strategies.minable import Minable, Side, concept_rows, holds_out_individuals, mark_rows, minable_rows
from tests.mining.conftest import mining_context
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget


def test_draws_leave_out_forgotten_rows_and_repeat_with_the_seed(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, range(0, 240, 2))
    minable = Minable(store)
    drawn = minable.sample(100, np.random.default_rng(1))
    assert (drawn % 2 == 1).all()
    assert (np.diff(drawn) > 0).all()
    assert (drawn == minable.sample(100, np.random.default_rng(1))).all()


def test_a_selection_leaves_its_rows_alone(world: EmbeddingStore, tmp_path: Path) -> None:
    selection = write_test_selection(world, tmp_path / "selection", {"a": [5, 3, 9], "b": [3, 200]})
    minable = minable_rows(mining_context(world, tmp_path, "random", selection=selection), world)
    assert minable.rows(0, 10).tolist() == [3, 5, 9, 200]
    assert set(minable.sample(100, np.random.default_rng(0)).tolist()) == {3, 5, 9, 200}


def test_the_rows_of_each_concept_ascend_without_forgotten_ones(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    selection = write_test_selection(store, tmp_path / "selection", {"a": [5, 3, 9], "b": [3, 200], "c": [7]})
    forget(store, [7, 9])
    names, rows, bounds = concept_rows(Minable(store), selection)
    found = {name: rows[bounds[place] : bounds[place + 1]].tolist() for place, name in enumerate(names.to_pylist())}
    assert found == {"a": [3, 5], "b": [3, 200], "c": []}


def test_two_concepts_of_one_name_stay_two(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    selection = write_test_selection(store, tmp_path / "selection", {"134": [5, 3], "517": [7, 9]})
    part, manifest = Path(selection) / "rows/rows_0000.parquet", Path(selection) / "manifest.json"
    table = pq.read_table(part)
    place = table.column_names.index("class_id")
    table = table.set_column(place, "class_id", table["concept"])
    pq.write_table(table.set_column(table.column_names.index("concept"), "concept", pa.array(["crane"] * 4)), part)
    said = json.loads(manifest.read_text())
    said["concepts"] = [{"name": "crane", "class_id": each["name"], "rows": 2} for each in said["concepts"]]
    manifest.write_text(json.dumps(said))
    names, rows, bounds = concept_rows(Minable(store), selection)
    assert names.to_pylist() == ["crane (134)", "crane (517)"]
    assert (rows.tolist(), bounds.tolist()) == ([3, 5, 7, 9], [0, 2, 4])


def test_a_selection_of_another_store_is_refused(world: EmbeddingStore, tmp_path: Path) -> None:
    other = mining_store(tmp_path, rows=12)
    selection = write_test_selection(other, tmp_path / "selection", {"a": [1, 2]})
    with pytest.raises(BadInput, match="was not retrieved from"):
        minable_rows(mining_context(world, tmp_path, "random", selection=selection), world)


@pytest.mark.parametrize(("kept", "said"), [(1, "has 1 row"), (0, "has 0 rows")])
def test_one_row_makes_no_pair(tmp_path: Path, kept: int, said: str) -> None:
    store = mining_store(tmp_path, rows=6)
    forget(store, range(kept, 6))
    with pytest.raises(BadInput, match=f"{said} that may be mined, and a pair needs two"):
        minable_rows(mining_context(store, tmp_path, "random"), store)


def test_rows_are_marked_in_any_shape() -> None:
    assert mark_rows(np.array([[1, 5], [7, 9]]), np.array([5, 9])).tolist() == [[False, True], [False, True]]
    assert mark_rows(np.array([1]), np.empty(0, np.int64)).tolist() == [False]


def test_every_row_is_on_one_side_and_about_as_many_as_asked_for() -> None:
    rows = np.arange(100_000).reshape(-1, 10)
    held, train = (Side(0.1, each).contains(rows) for each in (True, False))
    assert held.shape == rows.shape
    assert (held != train).all()
    assert held.mean() == pytest.approx(0.1, abs=0.005)
    assert not (held & ~Side(0.2, True).contains(rows)).any()  # a larger part contains a smaller one


def test_a_side_gives_only_its_rows_however_they_are_asked_for(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, range(0, 240, 5))
    for side in (Side(0.3, True), Side(0.3, False)):
        minable = Minable(store, None, side)
        rows = minable.rows(0, 240)
        assert side.contains(rows).all()
        drawn = minable.sample(20, np.random.default_rng(0))
        assert len(np.unique(drawn)) == len(drawn) > 10
        assert np.isin(drawn, rows).all()
        assert side.contains(minable.draw(500, np.random.default_rng(0))).all()
        assert minable.allows(np.arange(-1, 240)).tolist() == np.isin(np.arange(-1, 240), rows).tolist()
    assert len(minable.rows(0, 240)) + len(Minable(store, None, Side(0.3, True)).rows(0, 240)) == 192


def test_enough_neighbours_are_asked_for_to_find_some_of_the_side(world: EmbeddingStore) -> None:
    assert Minable(world).neighbors_to_ask(16) == 16
    assert Minable(world, None, Side(0.5, True)).neighbors_to_ask(16) == 48
    assert Minable(world, None, Side(0.01, True)).neighbors_to_ask(16) == 239
    assert Minable(world, np.arange(9), Side(0.1, True)).neighbors_to_ask(8) == 8


@pytest.mark.parametrize(("share", "name"), [(0.001, "held out"), (0.999, "for training")])
def test_a_hold_out_of_too_few_rows_is_refused(tmp_path: Path, share: float, name: str) -> None:
    store = mining_store(tmp_path, rows=24)
    split = "held-out" if name == "held out" else "train"
    ctx = replace(mining_context(store, tmp_path, "random", hold_out=share), split=split)
    with pytest.raises(BadInput, match=rf"--hold-out {share:g} leaves . rows? {name}, and a pair needs two"):
        minable_rows(ctx, store)


def test_a_selection_is_cut_into_the_same_sides(world: EmbeddingStore, tmp_path: Path) -> None:
    selection = write_test_selection(world, tmp_path / "selection", {"a": list(range(0, 240, 2))})
    ctx = mining_context(world, tmp_path, "random", selection=selection, hold_out=0.3)
    rows = [minable_rows(replace(ctx, split=split), world).rows(0, 999) for split in ("train", "held-out")]
    assert sorted(np.concatenate(rows).tolist()) == list(range(0, 240, 2))
    assert Side(0.3, True).contains(rows[1]).all()


def test_individuals_are_held_out_where_they_are_all_that_is_mined() -> None:
    assert holds_out_individuals(MiningConfig("store", "out", (("identity", 1.0),)))
    assert not holds_out_individuals(MiningConfig("store", "out", (("identity", 0.5), ("random", 0.5))))
    names = [f"story {number}" for number in range(2_000)]
    held = [Side(0.1, True).contains_name(name) for name in names]
    assert sum(held) / len(held) == pytest.approx(0.1, abs=0.03)
    assert [Side(0.1, False).contains_name(name) for name in names] == [not each for each in held]
