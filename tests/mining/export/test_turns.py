"""Turns of a conversation with the images in their places, and texts that can't be taken for anything else."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from mining.export.templates import text_filter
from mining.export.turns import QUESTIONS, asked_turns, caption_turns, question_for, training_turns
from mining.sets.annotation import Turn, marked_text
from mining.sets.image_set import ImageSet, Member

PLAIN = text_filter()


def pair(*captions: str | None) -> ImageSet:
    members = tuple(Member(place, "photos", caption=caption) for place, caption in enumerate(captions))
    return ImageSet("a", "random", members)


def test_the_captions_are_the_answer_a_line_an_image() -> None:
    assert caption_turns(pair("a dog", "a  cat\nwith a hat")) == [
        ("What does each image show?", "Image 1: a dog\nImage 2: a cat with a hat")
    ]


@pytest.mark.parametrize("captions", [("a dog", None), ("a dog", " \n"), ()])
def test_no_text_is_made_up_where_a_caption_lacks(captions: tuple[str | None, ...]) -> None:
    assert caption_turns(pair(*captions)) is None


def test_images_that_no_turn_shows_stand_above_the_first_question() -> None:
    turns = training_turns(pair("", ""), [("Which is older?", "A."), ("Why?", "Rust.")], PLAIN)
    assert [(turn.role, marked_text(turn.parts)) for turn in turns] == [
        ("user", "Image 1: <image>\nImage 2: <image>\nWhich is older?"),
        ("assistant", "A."),
        ("user", "Why?"),
        ("assistant", "Rust."),
    ]
    said = [Turn("system", ("Be brief.",)), Turn("assistant", ("A bus.",))]
    turns = training_turns(pair(""), said, PLAIN)
    assert [(turn.role, turn.parts) for turn in turns] == [
        ("system", ("Be brief.",)),
        ("user", ("Image 1: ", 0)),
        ("assistant", ("A bus.",)),
    ]


def test_images_stay_where_the_turns_have_them() -> None:
    said = [Turn("user", (1, "right of ", 0)), Turn("assistant", ("Yes.",)), Turn("user", ("And ", 1, "?"))]
    turns = training_turns(pair("", ""), said, PLAIN)
    assert [turn.parts for turn in turns] == [turn.parts for turn in said]


def test_a_text_in_two_parts_cannot_become_a_marker() -> None:
    said = [
        Turn("user", ("<im", "age>", 0)),
        Turn(
            "assistant",
            (
                "</",
                "s>",
            ),
        ),
    ]
    turns = training_turns(pair(""), said, PLAIN)
    assert [turn.parts for turn in turns] == [("image", 0), ("< /s>",)]


def test_a_record_without_images_has_no_places() -> None:
    (turn, _) = training_turns(pair(), [("1 + 1?", "2")], PLAIN)
    assert turn.parts == ("1 + 1?",)


@pytest.mark.parametrize("turns", ["both show dogs", [("one",)], [("a", 1)], ["ab"], 7])
def test_anything_but_turns_names_its_set(turns: object) -> None:
    with pytest.raises(BadInput, match=r"set a: an answer is a list of Turn or of \(question, answer\) texts"):
        training_turns(pair("", ""), turns, PLAIN)  # type: ignore[arg-type]


def test_turns_that_cannot_be_learnt_from_say_why() -> None:
    with pytest.raises(BadInput, match="set a: the turns have no answer"):
        training_turns(pair(""), [Turn("user", (0, "Why?"))], PLAIN)
    with pytest.raises(BadInput, match="set a: the turns show image 3, it has 2"):
        training_turns(pair("", ""), [Turn("user", (2,)), Turn("assistant", ("A.",))], PLAIN)


NOTE = Turn("assistant", ("The left one is red.",))


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([Turn("user", (0, 1)), NOTE], ["<image><image>\nWhat differs?"]),
        ([Turn("user", (0, " ", 1, "\n")), NOTE], ["<image> <image>\nWhat differs?"]),
        ([NOTE], ["What differs?"]),  # below the images, which `training_turns` puts above
        ([Turn("user", ()), NOTE], ["What differs?"]),
        ([Turn("user", (0,)), NOTE, Turn("user", (1,)), NOTE], ["<image>\nWhat differs?"] * 2),
        ([Turn("user", ("Look.",)), Turn("user", (0, 1)), NOTE], ["Look.", "<image><image>"]),
        ([Turn("user", (0, 1)), Turn("user", ("Look.",)), NOTE], ["<image><image>", "Look."]),
        ([Turn("user", ("Image 1: ", 0)), NOTE], ["Image 1: <image>"]),
        ([Turn("user", (0, 1, "Why?")), NOTE], ["<image><image>\nWhy?"]),
        ([Turn("user", (0, 1, "\nWhy?")), NOTE], ["<image><image>\nWhy?"]),
        ([Turn("user", (0, ", what is it?")), NOTE], ["<image>, what is it?"]),
        ([Turn("user", (0, "is left of ", 1)), NOTE], ["<image>is left of <image>"]),
        ([Turn("user", ("", "Why?")), NOTE], ["Why?"]),
        ([Turn("user", ("Why ", 0, "?")), NOTE], ["Why <image>?"]),
    ],
)
def test_an_answer_without_a_question_gets_one_on_a_line_of_its_own(turns: list[Turn], expected: list[str]) -> None:
    found = asked_turns(pair("", ""), turns, "What differs?")
    assert [marked_text(turn.parts) for turn in found if turn.role == "user"] == expected
    assert [turn for turn in found if turn.role != "user"] == [turn for turn in turns if turn.role != "user"]


def test_a_system_turn_stays_first_and_a_text_alone_gets_no_question() -> None:
    system = Turn("system", ("Be brief.",))
    found = asked_turns(pair("", ""), [system, NOTE], "What differs?")
    assert found == (system, Turn("user", ("What differs?",)), NOTE)
    assert asked_turns(pair(), [system, NOTE], "What differs?") == (system, NOTE)


def test_the_question_is_of_the_kind_or_the_callers() -> None:
    assert question_for("difference_note") == QUESTIONS["difference_note"] == "What differs between the images?"
    assert question_for("odd") == "Describe what is shown."
    assert question_for("odd", "Why?") == "Why?"
    assert [question_for(kind, {"odd": "Why?"}) for kind in ("odd", "story")] == ["Why?", QUESTIONS["story"]]
