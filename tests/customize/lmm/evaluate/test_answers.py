"""Replies as the papers compare them, and as a person reads them."""

from __future__ import annotations

import pytest

from customize.lmm.evaluate.answers import is_exact, read_answer, read_choice, read_statement, split_summary, word_f1

IMAGES = {"A": "Image 1", "B": "Image 2"}
ANIMALS = {"A": "a dog", "B": "a cat", "C": "a hot dog", "D": "None of these"}


def test_the_papers_take_the_letter_alone() -> None:
    assert is_exact(" A\n", "A")
    assert not is_exact("A.", "A")
    assert not is_exact("a", "A")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A", "A"),
        ("b", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("B) Image 2", "B"),
        ("B. Image 2", "B"),
        ("B: the second one", "B"),
        ("Image 2", "B"),
        ("image 1.", "A"),
        ("The answer is B", "B"),
        ("The correct answer is: (A).", "A"),
        ("Option A", "A"),
        ("I would choose option B because it shows a dog.", "B"),
        ("Image 2 suits the caption better.", "B"),
        ("A dog is running in the park.", None),
        ("Image 1 suits it better than Image 2.", None),
        ("Image 12", None),
        ("C", None),
        ("", None),
        ("both", None),
        ("The answer is A. No, the answer is B.", None),
    ],
)
def test_a_letter_is_read_from_a_reply_about_images(reply: str, letter: str | None) -> None:
    assert read_choice(reply, IMAGES) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("a dog", "A"),
        ("A dog.", "A"),
        ("D", "D"),
        ("none of these", "D"),
        ("a cat is shown", "B"),
        ("It is a cat and a dog", None),
        ("C. a hot dog", "C"),
        ("a hot dog", "C"),
    ],
)
def test_a_letter_is_read_from_an_options_text(reply: str, letter: str | None) -> None:
    assert read_choice(reply, ANIMALS) == letter


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("True", "True"),
        ("false.", "False"),
        ("The statement is true.", "True"),
        ("Yes, it is.", "True"),
        ("No", "False"),
        ("The statement is not true.", "False"),
        ("It isn't correct, so: False", "False"),
        ("It is not false", "True"),
        ("True or False", None),
        ("", None),
        ("truely", None),
    ],
)
def test_a_statement_is_true_or_false(reply: str, said: str | None) -> None:
    assert read_statement(reply) == said
    assert read_answer(reply, {}) == said


def test_shared_words_are_counted_once_each() -> None:
    assert word_f1("a red bus", "A red bus.") == 1.0
    # 2 shared ("red", "bus") of 3 and 4 words: 2 * 2 / 7
    assert word_f1("red red bus", "the bus is red") == pytest.approx(4 / 7)
    assert word_f1("", "bus") == 0.0
    assert word_f1("", "") == 1.0


def test_a_summary_has_two_lists() -> None:
    both = split_summary(
        "Commonalities:\n1. Both show a dog.\nDifferences:\n1. Image 1 is dark.\n2. Image 2 has a cat."
    )
    assert both == ("Both show a dog.", "Image 1 is dark.\nImage 2 has a cat.")
    assert split_summary("Differences:\n1. Image 1 is dark.") == ("", "Image 1 is dark.")
