"""Conditions on whole parts: values, bounds, shared nouns and rejections, over several part files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from mining.sets import write_sets as module
from mining.sets.filter_sets import Conditions, checked_bound, checked_names, checked_numbers, matching
from mining.sets.layouts import Layout, read_layout
from tests.mining.made_sets import write_sets

ROWS = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Six pairs in three parts."""
    monkeypatch.setattr(module, "PART_SETS", 2)
    sets = write_sets(
        tmp_path,
        ROWS,
        level=[1, 2, 3, 1, 2, 3],
        image_sim=[0.1, None, 0.3, 0.4, 0.5, float("nan")],
        shared_nouns=[["dog"], ["dog", "cat"], [], ["cat"], ["cat", "dog", "cup"], ["cup"]],
        axis=["color", None, "color", "size", None, None],
    )
    layout = read_layout(sets.path)
    assert len(layout.parts) == 3
    return layout


def found(layout: Layout, *conditions: Conditions, among: list[int] | None = None) -> list[int]:
    numbers = np.arange(layout.sets) if among is None else np.array(among)
    return [int(number) for number in matching(layout, numbers, conditions)]


def asked(values: Any = None, least: Any = None, most: Any = None, **others: Any) -> Conditions:
    return Conditions(values or {}, least or {}, most or {}, **others)


def test_no_condition_keeps_all_and_reads_no_column(layout: Layout) -> None:
    assert asked(values={"axis": None}).columns == set()
    assert found(layout, asked(values={"axis": None})) == list(range(6))


def test_a_value_or_one_of_several_must_be_there(layout: Layout) -> None:
    assert found(layout, asked(values={"axis": "color"})) == [0, 2]
    assert found(layout, asked(values={"axis": ["color", "size"], "level": [1, 3]})) == [0, 2, 3]
    assert found(layout, asked(values={"level": []})) == []


def test_bounds_are_inclusive_and_null_or_nan_meets_none(layout: Layout) -> None:
    assert found(layout, asked(least={"image_sim": 0.3})) == [2, 3, 4]
    assert found(layout, asked(most={"image_sim": 0.4}, least={"level": 2})) == [2]
    assert found(layout, asked(most={"image_sim": 1.0})) == [0, 2, 3, 4]


def test_all_nouns_must_be_shared(layout: Layout) -> None:
    assert found(layout, asked(nouns=("dog",))) == [0, 1, 4]
    assert found(layout, asked(nouns=("dog", "cat"))) == [1, 4]
    assert found(layout, asked(nouns=("unicorn",))) == []


def test_rejected_sets_are_known_by_all_their_members(layout: Layout) -> None:
    name = next(iter(layout.sources))
    decisions = {
        (f"{name}/0", f"{name}/1"): "reject",
        (f"{name}/2", f"{name}/4"): "reject",
        (f"{name}/0", f"{name}/1", f"{name}/2"): "reject",
        ("another/4", "another/5"): "reject",
        ("*/6", "*/7"): "reject",  # as version 1 says it, undone for this store
        (f"{name}/6", f"{name}/7"): "keep",
        ("*/10", "*/11"): "reject",
    }
    assert found(layout, asked(decisions=decisions)) == [1, 2, 3, 4]


def test_sets_may_be_asked_for_by_number(layout: Layout) -> None:
    assert found(layout, asked(numbers=np.array([4, 1, 1])), among=[5, 4, 3, 1, 4]) == [4, 1, 4]
    assert found(layout, asked(numbers=np.empty(0, np.int64))) == []
    assert found(layout, asked(numbers=np.array([0, 1, 2])), asked(least={"level": 2})) == [1, 2]


def test_several_filters_hold_together_and_the_order_asked_for_stays(layout: Layout) -> None:
    both = (asked(nouns=("cat",)), asked(least={"level": 2}))
    assert found(layout, *both) == [1, 4]
    assert found(layout, *both, among=[5, 4, 3, 1, 4]) == [4, 1, 4]
    assert both[0].columns | both[1].columns == {"shared_nouns", "level"}


@pytest.mark.parametrize("value", [5, ["a", 5], b"a", {"a": 1}, [None], True])
def test_names_are_texts(value: Any) -> None:
    with pytest.raises(BadInput, match="filter: axis is a text or a list of texts"):
        checked_names("axis", value)
    assert checked_names("axis", None) is None
    assert checked_names("axis", "a") == ("a",)
    assert checked_names("axis", ["a", "b"]) == ("a", "b")
    assert checked_names("axis", []) == ()


@pytest.mark.parametrize("value", ["x", 2.5, True, [1, True], [None], {"a": 1}, 1 << 31, b"1"])
def test_numbers_are_whole(value: Any) -> None:
    with pytest.raises(BadInput, match="filter: level is a whole number or a list of them"):
        checked_numbers("level", value)
    assert checked_numbers("level", None) is None
    assert checked_numbers("level", np.int64(3)) == (3,)
    assert checked_numbers("level", [1, 2]) == checked_numbers("level", np.array([1, 2])) == (1, 2)


@pytest.mark.parametrize("value", [float("nan"), "x", True, [1], np.float32("nan")])
def test_bounds_are_numbers(value: Any) -> None:
    with pytest.raises(BadInput, match="filter: min_difficulty is a number"):
        checked_bound("min_difficulty", value)
    with pytest.raises(BadInput, match="filter: max_level is a whole number"):
        checked_bound("max_level", 1.5)
    with pytest.raises(BadInput, match="filter: max_level is a whole number"):
        checked_bound("max_level", float("inf"))
    assert (checked_bound("max_level", 2.0), checked_bound("min_image_sim", np.float32(0.5))) == (2, 0.5)
