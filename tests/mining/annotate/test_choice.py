from __future__ import annotations

import pytest

from mining.annotate.choice import choice_turns, draw_choice
from tests.mining.annotate.made_pairs import image_set


def test_caption_and_order_are_fair_coins() -> None:
    chosen = [draw_choice(image_set(set_id=f"set-{number}")) for number in range(400)]
    drawn = [(each.answer, each.order, each.letter) for each in chosen if each is not None]

    assert len(drawn) == 400
    assert 160 < sum(answer for answer, _, _ in drawn) < 240
    assert 160 < sum(order == (0, 1) for _, order, _ in drawn) < 240
    assert 160 < sum(letter == "A" for _, _, letter in drawn) < 240


def test_the_letter_is_the_place_at_which_the_image_is_shown() -> None:
    for seed in range(8):
        choice = draw_choice(image_set(), seed)
        assert choice is not None
        question, answer = choice_turns(choice)
        assert choice.caption in question.text
        assert question.images["AB".index(answer.text)] == choice.answer
        assert question.text.endswith(
            "\nA. Image 1\nB. Image 2\nAnswer with the option's letter from the given choices directly."
        )


def test_the_same_set_and_seed_give_the_same_question() -> None:
    assert draw_choice(image_set(), 3) == draw_choice(image_set(), 3)
    assert len({draw_choice(image_set(), seed) for seed in range(20)}) == 4


@pytest.mark.parametrize(
    "captions", [("A dog",), ("A dog", None), ("A dog", " "), ("A dog", "a  dog"), tuple("abcdefghijklmnopqrstuvwxyz1")]
)
def test_sets_without_a_clear_answer_have_no_question(captions: tuple[str | None, ...]) -> None:
    assert draw_choice(image_set(captions)) is None


@pytest.mark.parametrize(
    "captions", [("Share this on social media", "Click here for more information"), ("meadow", "A cow in a meadow")]
)
def test_a_caption_that_names_nothing_or_suits_both_images_is_not_asked_about(captions: tuple[str, str]) -> None:
    asked = {choice.caption for seed in range(20) if (choice := draw_choice(image_set(captions), seed)) is not None}
    assert asked == ({"A cow in a meadow"} if "meadow" in captions else set())


def test_several_images_have_several_options() -> None:
    choice = draw_choice(image_set(("a", "b", "c")))

    assert choice is not None
    question, _ = choice_turns(choice)
    assert sorted(question.images) == [0, 1, 2]
    assert "C. Image 3" in question.text
    assert choice_turns(choice, images=False)[0].images == ()
