"""Variants of the first question: where its images stand, and a random request for a brief description."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers
from customize.lmm.data.variants import BRIEF_QUESTIONS, Variants, VariedSource
from index.errors import BadInput
from tests.customize.lmm.data.made_data import image, pair_sample, sample

ONE = sample((0, "\nWhat is this?"), "A bus.", "Why?", "So.", images=1)


def test_images_stand_before_or_behind_the_first_question() -> None:
    assert Variants("first").applied(ONE).turns[0].parts == (0, "\nWhat is this?")
    last = Variants("last").applied(ONE)
    assert last.turns[0].parts == ("What is this?\n", 0)
    assert last.turns[1:] == ONE.turns[1:]
    assert Variants("kept").applied(ONE) == ONE


def test_a_random_order_is_drawn_by_seed_and_sample_and_is_fair() -> None:
    each = [sample((0, "\nWhat?"), "A bus.", images=1, sample_id=str(number)) for number in range(400)]
    behind = [isinstance(Variants("random").applied(one).turns[0].parts[0], str) for one in each]
    assert behind == [isinstance(Variants("random").applied(one).turns[0].parts[0], str) for one in each]
    assert behind != [isinstance(Variants("random", seed=1).applied(one).turns[0].parts[0], str) for one in each]
    assert 160 < sum(behind) < 240


def test_a_brief_question_is_one_of_ours_and_the_answer_stays() -> None:
    each = [sample((0, "\nWhat?"), "A bus.", images=1, sample_id=str(number)) for number in range(100)]
    asked = [Variants(brief=True).applied(one).turns[0] for one in each]
    assert {turn.text.strip() for turn in asked} == set(BRIEF_QUESTIONS)
    assert all(turn.images == (0,) for turn in asked)
    assert Variants("last", brief=True).applied(each[0]).turns[0].images == (0,)


def test_images_between_texts_keep_their_places() -> None:
    assert Variants("last").applied(pair_sample()).turns == pair_sample().turns
    text = sample("1 + 1?", "2")
    assert Variants("last", brief=True).applied(text) == text
    assert Variants("last").applied(LmmSample("x", "made", ())) == LmmSample("x", "made", ())


def test_a_source_is_varied_and_its_skipped_samples_stay() -> None:
    class Two:
        name = "two"

        def __len__(self) -> int:
            return 2

        def digest(self) -> str:
            return "two"

        def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
            found = [ONE, SkippedSample("x", "two", "no answer")]
            return (found[number] for number in numbers.tolist())

        def image(self, key: str, place: str) -> ImageFile:
            return image(key)

    varied = VariedSource(Two(), Variants("last"))
    assert (len(varied), varied.name, varied.image("a", "").key) == (2, "two", "a")
    assert list(varied.read(np.array([1, 0]))) == [
        SkippedSample("x", "two", "no answer"),
        Variants("last").applied(ONE),
    ]
    assert varied.digest() != VariedSource(Two(), Variants("first")).digest()


def test_an_unknown_order_is_told() -> None:
    with pytest.raises(BadInput, match="order 'middle': choose"):
        Variants("middle")
