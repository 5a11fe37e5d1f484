"""The turns that a set is trained on: captions as they are, or the caller's answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from mining.export.conversations import answered_sets, caption_turns, turns_of, with_places
from mining.export.skipped import SkippedSet
from mining.sets.image_set import ImageSet
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import make_store, random_unit

CAPTIONS = ["a dog", "a  cat\nwith a hat", None, " \n", "an <image> of a boat", "a tree"]


@pytest.fixture
def sets(tmp_path: Path) -> list[ImageSet]:
    store = make_store(tmp_path, random_unit(6), caption=CAPTIONS)
    return list(write_sets(tmp_path, [[0, 1], [0, 2], [3, 5], [4, 5, 0]], store=store))


def test_the_captions_are_the_answer_a_line_an_image(sets: list[ImageSet]) -> None:
    assert caption_turns(sets[0]) == [("What does each image show?", "Image 1: a dog\nImage 2: a cat with a hat")]


def test_no_text_is_made_up_for_an_image_without_a_caption(sets: list[ImageSet]) -> None:
    assert [caption_turns(each) is None for each in sets] == [False, True, True, False]


def test_markers_within_questions_and_answers_become_a_word(sets: list[ImageSet]) -> None:
    assert turns_of(sets[3], None) == [
        ("What does each image show?", "Image 1: an image of a boat\nImage 2: a tree\nImage 3: a dog")
    ]
    assert turns_of(sets[0], lambda each: [("Where is <image>?", "In <image>.")]) == [("Where is image?", "In image.")]


@pytest.mark.parametrize("turns", ["both show dogs", [("one",)], [("a", 1)], ["ab"]])
def test_an_answer_that_is_no_list_of_turns_names_its_set(sets: list[ImageSet], turns: object) -> None:
    with pytest.raises(BadInput, match=r"set 0_1: an answer is a list of \(question, answer\) texts"):
        turns_of(sets[0], lambda each: turns)  # type: ignore[arg-type,return-value]


def test_sets_without_turns_are_skipped_with_the_reason(sets: list[ImageSet]) -> None:
    skipped: list[SkippedSet] = []
    turns: dict[str, list[tuple[str, str]]] = {}
    assert [each.set_id for each in answered_sets(sets, None, skipped.append, turns)] == ["0_1", "4_5_0"]
    assert list(turns) == ["0_1", "4_5_0"]
    assert [(each.set_id, each.reason) for each in skipped] == [
        ("0_2", "without a caption"),
        ("3_5", "without a caption"),
    ]
    assert not list(answered_sets(sets[:1], lambda each: None, skipped.append, turns))
    assert skipped[-1].reason == "without an answer"


def test_the_places_of_the_images_are_above_the_question(sets: list[ImageSet]) -> None:
    assert with_places(sets[0], "Which is older?") == "Image 1: <image>\nImage 2: <image>\nWhich is older?"
