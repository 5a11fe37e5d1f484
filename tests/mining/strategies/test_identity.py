"""`identity`: one individual in several pictures, in order where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mining.strategies.identity
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.select.assemble import padded
from tests.mining.conftest import propose
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget

HERO = "truth.objects.entity"


def _heroes(store: EmbeddingStore, row: int) -> set[str]:
    extra = json.loads(store.metadata([row], ["extra"])["extra"][0].as_py())
    return {thing["entity"] for thing in extra["truth"]["objects"]} - {None}


def test_all_members_show_the_individual(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "identity", entity=HERO, set_size=3)
    assert found.table.num_rows
    for one in found.table.to_pylist():
        assert len(set(one["rows"])) == 3
        assert all(one["entity"] in _heroes(world, row) for row in one["rows"])
        assert one["reasons"] == [f"the same {HERO}: {one['entity']}"]


def test_stories_stand_in_their_order(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "identity", 60, entity="truth.story", order="truth.step", set_size=4)
    rows = padded(found.table["rows"]).tolist()
    assert sorted(rows) == [[first, first + 1, first + 2, first + 3] for first in range(0, 240, 4)]
    assert "in the order of truth.step: 0, 1, 2, 3" in found.table["reasons"].to_pylist()[0]


def test_the_order_is_that_of_the_field_and_not_of_the_rows(tmp_path: Path) -> None:
    extra = [json.dumps({"who": "a", "when": when}) for when in ["d", "b", "c", "a", None, "b"]]
    store = mining_store(tmp_path, rows=6, extra=extra)
    found = propose(store, tmp_path, "identity", 20, entity="who", order="when", set_size=2)
    times = ["d", "b", "c", "a", None, "b"]
    for first, second in padded(found.table["rows"]).tolist():
        assert str(times[first]) < str(times[second])
    assert found.dropped["no value in when"] == 1


def test_the_sets_do_not_depend_on_how_the_work_is_cut(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = propose(world, tmp_path / "whole", "identity", entity=HERO)
    monkeypatch.setattr(mining.strategies.identity, "ITEM_ROWS", 50)
    cut = propose(world, tmp_path / "cut", "identity", entity=HERO)
    assert sorted(map(str, cut.table["rows"].to_pylist())) == sorted(map(str, whole.table["rows"].to_pylist()))


def test_many_buckets_hold_everybody_once(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = propose(world, tmp_path / "whole", "identity", 10, entity=HERO)
    monkeypatch.setattr(mining.strategies.identity, "BUCKET_ROWS", 60)
    cut = propose(world, tmp_path / "cut", "identity", 10, entity=HERO)
    assert set(cut.table["entity"].to_pylist()) == set(whole.table["entity"].to_pylist())
    assert sorted(map(str, cut.table["rows"].to_pylist())) == sorted(map(str, whole.table["rows"].to_pylist()))


def test_forgotten_rows_and_rows_outside_the_selection_are_in_no_set(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, [0, 10, 20])
    selection = write_test_selection(store, tmp_path / "selection", {"x": range(0, 80)})
    found = propose(store, tmp_path, "identity", entity=HERO, selection=selection)
    members = padded(found.table["rows"])
    assert members.max() < 80
    assert not set(members.ravel().tolist()) & {0, 10, 20}


def test_a_field_that_nobody_has_is_an_error_that_names_those_there(world: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no row has a value in truth\.hero; the fields .*truth\.objects\.entity"):
        propose(world, tmp_path, "identity", entity="truth.hero")
    with pytest.raises(BadInput, match="is not a dotted field"):
        propose(world, tmp_path, "identity", entity="truth..hero")
