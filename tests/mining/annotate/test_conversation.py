from __future__ import annotations

import pytest

from index.errors import BadInput
from mining.annotate.comparison import LISTS
from mining.annotate.conversation import cad_question, cad_turns, images_phrase
from tests.mining.annotate.made_pairs import COMPARED, compared, image_set, note


def test_both_turns_show_the_images_once() -> None:
    question, answer, choice, letter = cad_turns(image_set(), compared())

    assert question.parts[:4] == ("Image 1: ", 0, "\nImage 2: ", 1)
    assert answer.text == COMPARED.text()
    assert choice.images == ()
    assert ("red" in choice.text) == (letter.text == "A")


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        (("commonalities",), "Commonalities:\n1. Both images show a bus."),
        (("differences",), COMPARED.text(("differences",))),
        (("differences", "commonalities"), COMPARED.text()),
        (("note",), "Image 1 shows a red bus, Image 2 a blue bus. Image 2 is set in a park."),
    ],
)
def test_each_part_alone(parts: tuple[str, ...], answer: str) -> None:
    turns = cad_turns(image_set(), compared(), parts)

    assert [turn.role for turn in turns] == ["user", "assistant"]
    assert turns[1].text == answer
    assert ("in common" in turns[0].text or "share" in turns[0].text) <= ("commonalities" in parts)


def test_a_choice_alone_shows_the_images_in_either_order() -> None:
    orders = {cad_turns(image_set(), None, ("choice",), seed)[0].images for seed in range(12)}

    assert orders == {(0, 1), (1, 0)}


def test_a_difference_note_is_taught_as_it_is_and_only_as_a_note() -> None:
    said = note("The left bus is red.")

    assert cad_turns(image_set(), said, ("note",))[1].text == "The left bus is red."
    assert cad_turns(image_set(), said) == ()


def test_without_a_comparison_there_is_no_conversation_of_one() -> None:
    assert cad_turns(image_set(), None) == ()


def test_without_captions_the_summary_stays() -> None:
    assert len(cad_turns(image_set((None, None)), compared())) == 2


@pytest.mark.parametrize("parts", [(), ("colours",), ("note", "differences")])
def test_unknown_parts_are_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="parts of a conversation"):
        cad_turns(image_set(), compared(), parts)


def test_wordings_differ_by_set_and_stay_for_each() -> None:
    asked = [cad_question(image_set(set_id=str(number))) for number in range(40)]

    assert len(set(asked)) > 2
    assert asked == [cad_question(image_set(set_id=str(number))) for number in range(40)]
    assert all("object types, attributes, counts, actions, locations and relative positions" in each for each in asked)


def test_images_are_counted_in_words() -> None:
    assert [images_phrase(count) for count in (1, 2, 3, 5)] == [
        "the image", "the two images", "the three images", "the 5 images",
    ]  # fmt: skip


def test_with_hints_some_conversations_begin_with_a_note_and_some_with_the_captions() -> None:
    asked = {}
    for seed in range(12):
        turns = cad_turns(image_set(), compared(), (*LISTS, "choice", "hints"), seed)
        text = turns[0].text
        kind = "note" if "Note:" in text else "captions" if "Caption of image 1:" in text else "none"
        asked[kind] = turns
    assert set(asked) == {"none", "note", "captions"}
    noted = asked["note"][0].text.partition("Note:")[2]
    assert any(item.text in noted for item in COMPARED.differences)
    assert len(asked["none"]) == len(asked["note"]) == 4
    assert len(asked["captions"]) == 2  # the captions would give the choice away


def test_hints_need_a_list() -> None:
    with pytest.raises(BadInput, match="hints"):
        cad_turns(image_set(), compared(), ("choice", "hints"))
