"""What the importers share: fields in their order, lists written as texts, texts that no file can hold."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mining.sets.annotation import Turn
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    as_written,
    in_order,
    is_deep,
    marked_turn,
    named_image,
    pick,
    read_written,
    require_text,
    require_unicode,
    rest_of,
    turn_text,
    without_nonfinite,
)


def test_fields_come_back_in_their_own_order() -> None:
    usual = {"id": 1, "text": "a", "other": 2}
    rest, form = rest_of(usual, ("id", "text"))
    assert (rest, form) == ({"other": 2}, {})
    unusual = {"other": 2, "text": "a", "id": 1}
    rest, form = rest_of(unusual, ("id", "text"))
    assert form == {"fields": ["other", "text", "id"]}
    assert list(in_order({"id": 1, "text": "a"}, rest, form)) == ["other", "text", "id"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(RecordRejected, match=r"lacks a field \(text, answer\)"):
        pick({"image": "a"}, ("image", "text", "answer"))
    with pytest.raises(RecordRejected, match="text is int, not a text"):
        require_text(3, "text")


@pytest.mark.parametrize(
    "text",
    ["['a.jpg', 'b.jpg']", '["a.jpg", "b.jpg"]', '["ä.jpg","b.jpg"]', "[ 'a.jpg' ,'b.jpg' ]", '["\\u00e4", "b"]'],
)
def test_a_list_written_as_a_text_comes_back_to_the_letter(text: str) -> None:
    found, how = read_written(text)
    assert len(found) == 2
    assert as_written(found, how) == text


@pytest.mark.parametrize("value", ["a.jpg", "[not a list", "__import__('os')", "[__import__('os')]", ["a"], None, 3])
def test_other_values_stay_as_they_are(value: object) -> None:
    assert read_written(value) == (value, None)
    assert as_written(value, None) == value


def test_markers_become_places_and_come_back() -> None:
    turn = marked_turn("user", "a <image> and <image>\nwhat?", 2)
    assert turn == Turn("user", ("a ", 2, " and ", 3, "\nwhat?"))
    assert turn_text(turn.parts) == "a <image> and <image>\nwhat?"


def test_a_url_is_looked_up_by_its_last_part() -> None:
    assert named_image("a/b.jpg") == NamedImage("a/b.jpg")
    assert named_image("https://x.org/p/b.jpg?size=1") == NamedImage(
        None, "https://x.org/p/b.jpg?size=1", also=("b.jpg",)
    )


@pytest.mark.parametrize(
    "draft",
    [
        Draft(None, (NamedImage("a\ud800.jpg"),), ()),
        Draft(None, (), (Said("note", (Turn("user", ("\udfff",)),)),)),
        Draft(None, (), (Said("note", content={"x": ["\ud800"]}),)),
    ],
)
def test_half_a_surrogate_pair_is_rejected(draft: Draft) -> None:
    with pytest.raises(RecordRejected, match="a text that is no Unicode"):
        require_unicode(draft)


def test_numbers_that_json_lacks_become_null() -> None:
    value = {"a": [1.5, math.nan, {"b": -math.inf}], "c": "NaN"}
    assert without_nonfinite(value) == {"a": [1.5, None, {"b": None}], "c": "NaN"}
    assert json.dumps(without_nonfinite(value), allow_nan=False)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_cannot_be_written_or_read_again_is_rejected() -> None:
    turns = (Turn("user", ("hello",)),)
    for draft, reason in (
        (Draft("a", (), (Said("note", turns, {"x": nested(5000)}),)), "nested too deeply"),
        (Draft("a", (), (Said("note", turns, {"x": nested(120)}),)), "nested too deeply"),
        (Draft("a", (), (Said("note", turns),), form={"x": "\ud800"}), "a text that is no Unicode"),
        (Draft("a", (), (Said("note", turns, annotator="\ud800"),)), "a text that is no Unicode"),
        (Draft("a", (), (), concept="\ud800"), "a text that is no Unicode"),
        (Draft("a", (), (Said("note", turns, {"x": b"1"}),)), "a value that is no JSON data"),
    ):
        with pytest.raises(RecordRejected, match=reason):
            require_unicode(draft)
    require_unicode(Draft("a", (), (Said("note", turns, {"x": nested(50), "y": [[]] * 200}),)))
    assert is_deep({"a": nested(120)})
    assert not is_deep({"a": nested(80)})


def test_a_text_of_brackets_is_a_text() -> None:
    assert read_written("[" * 100_000) == ("[" * 100_000, None)
