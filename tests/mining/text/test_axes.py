"""The words of the axes, and which values of an axis exclude each other."""

from __future__ import annotations

import pytest

from mining.text.axes import (
    ACTIONS,
    ADJECTIVE_AXES,
    AXES,
    COUNTS,
    OPPOSITE_POSITIONS,
    PHRASES,
    PLACES,
    POSITIONS,
    SAME_PLACES,
    excludes,
)


def test_a_word_has_the_first_word_of_its_line_as_its_group() -> None:
    assert ADJECTIVE_AXES["tan"] == ("color", "color", "brown")
    assert ACTIONS["jog"] == "run"
    assert POSITIONS["onto"] == "on"
    assert COUNTS["a"] == "1"
    assert COUNTS["several"] == "many"


def test_size_has_dimensions_that_are_stated_independently() -> None:
    assert [ADJECTIVE_AXES[word][:2] for word in ("big", "tall", "wide", "wet")] == [
        ("size", "size"),
        ("size", "height"),
        ("size", "width"),
        ("state", "wetness"),
    ]


def test_places_may_have_two_words_and_only_some_of_a_group_are_the_same_place() -> None:
    assert PLACES["living room"] == "living room"
    assert PLACES["parking lot"] == PLACES["road"] == "street"
    assert SAME_PLACES["meadow"] == SAME_PLACES["field"] != SAME_PLACES["lawn"]
    assert set(SAME_PLACES) <= set(PLACES)


def test_phrases_state_an_axis_or_are_taken_out() -> None:
    assert PHRASES["in", "front", "of"] == ("position", "in-front-of")
    assert PHRASES["at", "dawn"] == ("light", "dusk")
    assert PHRASES["dressed", "in"] == ("worn", "")
    assert PHRASES["in", "the", "background"] == ("", "")
    assert {axis for axis, _ in PHRASES.values()} - {"", "zone", "worn"} <= set(AXES)


def test_opposite_positions_are_opposite_both_ways() -> None:
    assert ("under", "on") in OPPOSITE_POSITIONS
    assert {(other, one) for one, other in OPPOSITE_POSITIONS} == OPPOSITE_POSITIONS


@pytest.mark.parametrize(
    ("axis", "one", "other", "expected"),
    [
        ("color", "red", "blue", True),
        ("color", "red", "red", False),
        ("color", "black", "black and white", False),
        ("count", "1", "many", True),
        ("count", "3", "many", False),
        ("count", "2", "3", True),
        ("position", "on", "under", True),
        ("position", "next-to", "behind", False),
        ("action", "?smile", "run", False),
        ("action", "sit", "run", True),
        ("light", "day", "overcast", False),
        ("light", "day", "night", True),
    ],
)
def test_only_values_that_cannot_both_be_true_exclude_each_other(
    axis: str, one: str, other: str, expected: bool
) -> None:
    assert excludes(axis, one, other) == excludes(axis, other, one) == expected
