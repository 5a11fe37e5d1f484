"""Single words: their class in captions, their lemma, and what is read out of compounds."""

from __future__ import annotations

import pytest

from mining.text.lexicon import look_up


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a", "S"),
        ("two", "D"),
        ("under", "P"),
        ("to", "T"),
        ("and", "C"),
        ("very", "R"),
        ("which", "W"),
        ("she", "U"),
        ("is", "X"),
        ("red", "J"),  # a noun too, but never in captions
        ("guitar", "N"),
        ("seen", "V"),
        ("running", "G"),
        ("run", "B"),
        ("wave", "Q"),
        ("house", "A"),
        ("male", "K"),
        ("crossing", "I"),
        ("und", "F"),
        ("wug", "O"),
        ("x", "O"),
        ("3d!", "O"),
    ],
)
def test_the_kind_is_the_class_that_captions_mean(text: str, kind: str) -> None:
    assert look_up(text).kind == kind


@pytest.mark.parametrize(
    ("text", "lemma", "plural"),
    [
        ("dogs", "dog", True),
        ("women", "woman", True),
        ("leaves", "leaf", True),
        ("scissors", "scissors", True),
        ("bus", "bus", False),
        ("axe", "ax", False),
        ("snowfields", "snowfield", True),
        ("dirt-bike", "dirt bike", False),
        ("wugs", "wug", True),
    ],
)
def test_lemma_and_plural(text: str, lemma: str, plural: bool) -> None:
    word = look_up(text)
    assert (word.lemma, word.plural) == (lemma, plural)


def test_a_hyphenated_adjective_is_one_and_a_verb_has_its_own_lemma() -> None:
    assert look_up("off-white").kind == "J"
    assert look_up("blue-eyed").kind == "J"
    assert look_up("rides").verb == "ride"


def test_stop_nouns_and_animate_nouns_are_marked() -> None:
    assert look_up("picture").stop
    assert look_up("backgrounds").stop
    assert not look_up("dog").stop
    assert look_up("dogs").animate
    assert not look_up("table").animate
