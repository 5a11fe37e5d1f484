from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from index.errors import BadInput
from mining.sets.annotation import Annotation, Annotator, Turn, marked_parts, marked_text

TURNS = (
    Turn("system", ("Compare.",)),
    Turn("user", ("Image 1: ", 0, " Image 2: ", 1, " What differs?")),
    Turn("assistant", ("One <image> is red.",)),
)
SAID = Annotation.make("a", "comparison", Annotator("mixtral", "8x7b", "3f", {"temperature": 0.2}), TURNS, {"n": [1]})


def test_an_id_is_a_hash_of_all_that_is_said() -> None:
    again = Annotation.make(
        "a", "comparison", Annotator("mixtral", "8x7b", "3f", {"temperature": 0.2}), TURNS, {"n": [1]}
    )
    assert again == SAID
    others = [
        Annotation.make("b", SAID.kind, SAID.annotator, TURNS, SAID.content),
        Annotation.make("a", "question", SAID.annotator, TURNS, SAID.content),
        Annotation.make("a", SAID.kind, replace(SAID.annotator, version="9"), TURNS, SAID.content),
        Annotation.make("a", SAID.kind, replace(SAID.annotator, parameters={}), TURNS, SAID.content),
        Annotation.make("a", SAID.kind, SAID.annotator, TURNS[1:], SAID.content),
        Annotation.make("a", SAID.kind, SAID.annotator, TURNS),
        Annotation.make("a", SAID.kind, SAID.annotator, TURNS, SAID.content, SAID.annotation_id),
    ]
    assert len({SAID.annotation_id, *(other.annotation_id for other in others)}) == 8


def test_a_turn_has_texts_and_the_positions_of_images() -> None:
    assert TURNS[1].text == "Image 1:  Image 2:  What differs?"
    assert (TURNS[1].images, TURNS[2].images) == ((0, 1), ())
    with pytest.raises(BadInput, match="a turn's role is system, user, assistant, not 'gpt'"):
        Turn("gpt", ())


def test_an_annotation_comes_back_from_json() -> None:
    fields = json.loads(json.dumps(SAID.to_json(), allow_nan=False))
    assert fields["turns"][1]["parts"][:2] == [{"text": "Image 1: "}, {"image": 0}]
    assert Annotation.from_json("a", fields) == SAID
    assert pickle.loads(pickle.dumps(SAID)) == SAID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": None}, "None is not a text"),
        ({"kind": ""}, "'' is not a text"),
        ({"annotator": {}}, "'name' is missing"),
        ({"annotator": None}, "is not an annotation"),
        ({"turns": [{"role": "user", "parts": [{"image": True}]}]}, "an image's position is a number from 0"),
        ({"turns": [{"role": "user", "parts": [{"image": -1}]}]}, "an image's position is a number from 0"),
        ({"turns": [{"role": "user", "parts": [{}]}]}, "'image' is missing"),
        ({"turns": [{"role": "user", "parts": [{"text": 3}]}]}, "3 is not a text"),
        ({"turns": [{"role": "gpt", "parts": []}]}, "a turn's role is"),
        ({"content": [1]}, r"\[1\] is not an object"),
        ({"parent": 3}, "3 is not a text"),
    ],
)
def test_json_that_is_no_annotation_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Annotation.from_json("a", {**SAID.to_json(), **change})


def test_an_image_that_the_set_does_not_have_is_refused() -> None:
    SAID.check_images(2)
    with pytest.raises(BadInput, match=r"an annotation \(comparison\) of set 'a' shows its image 1, but the set has 1"):
        SAID.check_images(1)
    with pytest.raises(BadInput, match="shows its image -1, but the set has 3"):
        replace(SAID, turns=(Turn("user", (-1,)),)).check_images(3)


def test_markers_become_image_positions_and_back() -> None:
    assert marked_parts("Image 1: <image>\nImage 2: <image>") == ("Image 1: ", 0, "\nImage 2: ", 1)
    assert marked_parts("<image><image>left", first=2) == (2, 3, "left")
    assert marked_parts("no image") == ("no image",)
    assert marked_parts("") == ()
    for text in ("<image>\nWhat?", "a <image> b <image>", "plain", ""):
        assert marked_text(marked_parts(text)) == text


def test_a_marker_within_a_text_is_no_image() -> None:
    assert marked_text((0, "a caption with <image> in it", 1)) == "<image>a caption with image in it<image>"


class _Part:
    pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": ""}, "has no kind"),
        ({"kind": " "}, "has no kind"),
        ({"annotator": Annotator("")}, "has no annotator"),
        ({"annotator": Annotator("m", parameters={"t": float("nan")})}, "cannot be written as JSON"),
        ({"annotator": Annotator("m", version="\ud800")}, "has a text that is no Unicode"),
        ({"content": {"score": float("nan")}}, "cannot be written as JSON"),
        ({"content": {"a": _Part()}}, "cannot be written as JSON"),
        ({"content": {"a\ud800": 1}}, "has a text that is no Unicode"),
        ({"turns": (Turn("user", ("half \ud83d",)),)}, "has a text that is no Unicode"),
        ({"turns": (Turn("user", (b"x",)),)}, "a turn's parts are texts and image positions from 0, not b'x'"),  # type: ignore[arg-type]
        ({"turns": (Turn("user", (True,)),)}, "a turn's parts are"),
        ({"parent": ""}, "has an empty text as its parent"),
        ({"parent": SAID.annotation_id}, "has itself as its parent"),
    ],
)
def test_what_cannot_be_written_or_told_apart_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(SAID, **change).check()  # type: ignore[arg-type]
    if "parent" not in change:
        whole = {"kind": SAID.kind, "annotator": SAID.annotator, "turns": TURNS, "content": {}, **change}
        with pytest.raises(BadInput, match=message):
            Annotation.make("a", **whole)  # type: ignore[arg-type]
