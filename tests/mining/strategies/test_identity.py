"""`identity`: one individual in several pictures, in order where there is one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mining.strategies.identity
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import candidates_table, in_process, padded
from mining.strategies.identity import _least, _with_levels
from mining.strategies.neighbors.similarity import set_similarity
from mining.strategies.registry import get_strategy
from tests.mining.conftest import mining_context, propose
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


def test_another_context_is_asked_for(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "identity", 100, entity=HERO)
    limit = found.measured["another context below"]
    members = padded(found.table["rows"])
    assert (set_similarity(world, "image", members)[0] < limit).all()
    # The ten heroes are in twelve rows each: 660 pairs, of which a bit less than half are below the median.
    assert 250 < len({tuple(rows) for rows in members.tolist()}) < 340
    assert found.dropped["images too alike"] > 250


def test_the_level_is_higher_the_less_alike_the_images_are(world: EmbeddingStore, tmp_path: Path) -> None:
    table = propose(world, tmp_path, "identity", 100, entity=HERO).table
    level, difficulty = table["level"].to_numpy(), table["difficulty"].to_numpy()
    assert (difficulty == level / 4).all()
    similarity, _ = set_similarity(world, "image", padded(table["rows"]))
    means = [similarity[level == each].mean() for each in (1, 2, 3, 4)]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("similarity", [0.3, 0.4996, 0.5, 0.9])
def test_levels_stay_in_bounds_where_all_sets_are_as_similar(similarity: float) -> None:
    values = np.full(5, similarity, np.float32)
    table = _with_levels(candidates_table(np.arange(10).reshape(5, 2)), values, _least(values, 0.5), 0.5)
    assert set(table["level"].to_pylist()) <= {1, 2, 3, 4}
    assert set(table["difficulty"].to_pylist()) <= {0.25, 0.5, 0.75, 1}


def test_the_context_may_be_a_field_that_differs_in_all_members(tmp_path: Path) -> None:
    places = ["beach", "beach", "street", None, "kitchen", "street"] * 4
    extra = [json.dumps({"who": f"hero {row // 12}", "place": place}) for row, place in enumerate(places)]
    store = mining_store(tmp_path, rows=24, extra=extra)
    found = propose(store, tmp_path, "identity", 20, entity="who", context="place", set_size=3)
    assert found.table.num_rows
    for one in found.table.to_pylist():
        assert {places[row] for row in one["rows"]} == {"beach", "street", "kitchen"}
        assert len({row // 12 for row in one["rows"]}) == 1
        assert one["reasons"][1] == "different place: " + ", ".join(str(places[row]) for row in one["rows"])
    assert found.unused["no value in place"] == 4


def test_stories_are_windows_of_consecutive_steps(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "identity", 60, entity="truth.story", order="truth.step", set_size=4)
    rows = padded(found.table["rows"]).tolist()
    assert sorted(rows) == [[first, first + 1, first + 2, first + 3] for first in range(0, 240, 4) if first != 236]
    assert "consecutive in truth.step: 0, 1, 2, 3" in found.table["reasons"].to_pylist()[0]
    assert found.dropped["images too alike"] == 1  # the last story shows one picture twice


def test_short_stories_are_whole_and_one_step_is_no_story(tmp_path: Path) -> None:
    # Story a has five steps, b two, c one, d two images of one step.
    stories = [("a", 3), ("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2), ("a", 5), ("d", 7), ("d", 7), ("a", 4)]
    store = mining_store(tmp_path, rows=10, extra=[json.dumps({"story": of, "step": step}) for of, step in stories])
    found = propose(store, tmp_path, "identity", 20, entity="story", order="step", set_size=3, near_duplicates=1.01)
    steps = [[stories[row] for row in rows] for rows in found.table["rows"].to_pylist()]
    assert sorted(steps) == [
        [("a", 1), ("a", 2), ("a", 3)],
        [("a", 2), ("a", 3), ("a", 4)],
        [("a", 3), ("a", 4), ("a", 5)],
        [("b", 1), ("b", 2)],
    ]
    assert found.unused["in a story of one step"] == 3


def test_the_order_is_that_of_the_field_and_not_of_the_rows(tmp_path: Path) -> None:
    extra = [json.dumps({"who": "a", "when": when}) for when in ["d", "b", "c", "a", None, "b"]]
    store = mining_store(tmp_path, rows=6, extra=extra)
    found = propose(store, tmp_path, "identity", 20, entity="who", order="when", set_size=2)
    times = ["d", "b", "c", "a", None, "b"]
    for first, second in padded(found.table["rows"]).tolist():
        assert str(times[first]) < str(times[second])
    assert found.unused["no value in when"] == 1


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


@pytest.mark.parametrize("option", ["order", "context"])
def test_an_order_or_context_that_nobody_has_is_an_error(world: EmbeddingStore, tmp_path: Path, option: str) -> None:
    choices: dict[str, Any] = {option: "truth.nope"}
    with pytest.raises(BadInput, match=r"no row of an individual has a value in truth\.nope; the fields "):
        propose(world, tmp_path, "identity", entity=HERO, **choices)


def test_windows_may_be_asked_to_change_the_context(tmp_path: Path) -> None:
    places = ["hall", "attic", "attic", "hall"]
    extra = [json.dumps({"story": "a", "step": step, "place": place}) for step, place in enumerate(places)]
    store = mining_store(tmp_path, rows=4, extra=extra)
    choices = {"entity": "story", "order": "step", "context": "place", "near_duplicates": 1.01}
    found = propose(store, tmp_path, "identity", 20, **choices)
    assert sorted(found.table["rows"].to_pylist()) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_a_side_without_an_individual_has_no_sets(tmp_path: Path, split: str) -> None:
    store = mining_store(tmp_path, rows=12, extra=[json.dumps({"who": "ann"})] * 12)
    share = 0.01 if split == "held-out" else 0.99
    ctx = replace(mining_context(store, tmp_path, "identity", entity="who", hold_out=share), split=split)
    found = get_strategy("identity")(ctx, in_process(ctx))
    assert found.table.num_rows == 0
    assert found.unused["of individuals on the other side"] == 12


def test_individuals_are_held_out_as_a_whole(world: EmbeddingStore, tmp_path: Path) -> None:
    ctx = mining_context(
        world, tmp_path, "identity", 60, entity="truth.story", order="truth.step", set_size=4, hold_out=0.3
    )
    sides = []
    for split in ("train", "held-out"):
        own = replace(ctx, split=split, folder=f"{ctx.folder}/{split}")
        sides.append(set(get_strategy("identity")(own, in_process(own)).table["entity"].to_pylist()))
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 59
    assert 8 < len(sides[1]) < 30
