"""What a correction makes of an annotation, and what it may not hold."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.pages.correction import CorrectionRequest, corrected
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_set import ImageSet, Member

PAIR = ImageSet("a/b", "birds", (Member(0, "photos"), Member(1, "photos")))
TURNS = (Turn("user", (0, " and ", 1)), Turn("assistant", ("a\u0007b",)))
PARENT = Annotation.make("a/b", "comparison", Annotator("model", "1"), TURNS, {"note": "c\u0007", "score": 0.5})
AS_SENT = PARENT.to_json()["turns"]


def correct(parent: Annotation = PARENT, **said: Any) -> Annotation:
    body = {"set_id": "a/b", "parent": parent.annotation_id, "person": "Ann", **said}
    return corrected(CorrectionRequest.model_validate(body), PAIR, parent)


def test_it_is_an_annotation_of_the_same_kind_by_the_person() -> None:
    made = correct(turns=[{"role": "assistant", "parts": [{"image": 1}, {"text": " is\r\nred"}, {"text": ""}]}])
    assert (made.set_id, made.kind, made.parent) == ("a/b", "comparison", PARENT.annotation_id)
    assert made.annotator == Annotator("person:Ann")
    assert made.turns == (Turn("assistant", (1, " is\nred")),)
    assert made.content == {}


def test_the_same_correction_is_the_same_annotation() -> None:
    said = [{"role": "assistant", "parts": [{"text": "red"}]}]
    assert correct(turns=said, person=" Ann ") == correct(turns=said)
    assert correct(turns=said, person="Bo") != correct(turns=said)


def test_what_was_there_may_stay_whatever_it_holds() -> None:
    made = correct(turns=AS_SENT, content={"note": "c\u0007", "score": 1})
    assert made.turns == TURNS
    assert made.content == {"note": "c\u0007", "score": 1}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"turns": AS_SENT, "content": dict(PARENT.content)}, "says the same"),
        ({}, "says nothing"),
        ({"turns": [{"role": "user", "parts": []}]}, "turn 1: is empty"),
        ({"turns": [*AS_SENT, {"role": "user", "parts": [{"image": 2}]}]}, "turn 3: shows image 3; the set has 2"),
        ({"turns": [{"role": "user", "parts": [{"text": "\u0000"}]}]}, r"turn 1: has the control character U\+0000"),
        ({"content": {"note": "d\u0007"}}, r"content 'note': has the control character U\+0007"),
        ({"content": {"a": {"b": ["c", {"d\u0001": 1}]}}}, r"content 'a': has the control character U\+0001"),
        ({"content": {"a": float("nan")}}, "content: cannot be written as JSON"),
        ({"content": {"a": 1 << 64}}, "content: cannot be written as JSON"),
        ({"content": {"a": "x" * 100_000}}, "content: has 100,008 bytes of JSON, at most 100,000"),
        ({"turns": [{"role": "user", "parts": [{"text": "x" * 50_001}]}] * 2}, "the turns have 100,002 characters"),
        ({"person": "\u200b"}, "person: a name needs letters"),
    ],
)
def test_what_cannot_be_taken_is_one_line(said: dict[str, Any], error: str) -> None:
    with pytest.raises(BadInput, match=error):
        correct(**said)


def test_letters_of_every_direction_and_signs_of_several_code_points_are_taken() -> None:
    text = "الطائر\u200f \u202bأصغر\u202c 👩‍👩‍👧 e\u0301\tx\ny"
    assert correct(turns=[{"role": "user", "parts": [{"text": text}]}]).turns[0].text == text


def test_where_an_annotation_came_from_stays() -> None:
    place = {"file": "a.json", "place": 3}
    parent = Annotation.make("a/b", "comparison", Annotator("model"), TURNS, {"record": place, "id": 5})
    made = correct(parent, turns=AS_SENT, content={"id": 6})
    assert made.content == {"record": place, "id": 6}
    assert correct(parent, turns=AS_SENT, content={"id": 6, "record": place}) == made
    with pytest.raises(BadInput, match="content 'record': says where"):
        correct(parent, turns=AS_SENT, content={"record": {"file": "x", "place": "y"}})
    with pytest.raises(BadInput, match="content 'record': says where"):
        correct(turns=AS_SENT, content={"record": {}})
    with pytest.raises(BadInput, match="says nothing"):
        correct(parent, content={"record": place})
    with pytest.raises(BadInput, match="says the same"):
        correct(parent, turns=AS_SENT, content={"id": 5})
