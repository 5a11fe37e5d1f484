"""Comparatives of word groups and of numbers."""

from __future__ import annotations

import pytest

from mining.text.axes import ADJECTIVE_AXES
from mining.text.degrees import _OF_WORDS, degree


def test_words_on_a_scale_have_a_comparative_in_both_directions() -> None:
    assert degree("texture", "smooth", "rough") == "rougher"
    assert degree("texture", "rough", "smooth") == "smoother"
    assert degree("shape", "round", "angular") == "more angular"
    assert degree("color", "red", "blue") is None


def test_numbers_are_compared_by_what_they_are_of() -> None:
    assert degree("lightness", 0.6, 0.3) == "darker"
    assert degree("count", 1.0, 3.0) == "more"
    assert degree("hue", 0.1, 0.9) is None  # goes round in a circle


@pytest.mark.parametrize("group", sorted({word for pair in _OF_WORDS for word in pair}))
def test_every_word_of_a_scale_names_a_group_of_an_axis(group: str) -> None:
    assert ADJECTIVE_AXES[group][2] == group
