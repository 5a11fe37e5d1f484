from __future__ import annotations

import pytest

from scenes.world import words


@pytest.mark.parametrize(
    ("hue", "saturation", "lightness", "word", "shade"),
    [
        (0.0, 0.8, 0.45, "red", ""),
        (0.99, 0.8, 0.25, "red", "dark"),
        (0.08, 0.9, 0.55, "orange", ""),
        (0.08, 0.5, 0.3, "brown", ""),
        (0.15, 0.8, 0.5, "yellow", ""),
        (1 / 3, 0.7, 0.75, "green", "light"),
        (2 / 3, 0.7, 0.25, "blue", "dark"),
        (0.75, 0.6, 0.5, "purple", ""),
        (0.88, 0.6, 0.6, "pink", ""),
        (0.5, 0.05, 0.5, "gray", ""),
        (0.5, 0.9, 0.05, "black", ""),
        (0.5, 0.9, 0.95, "white", ""),
    ],
)
def test_colors_are_named_as_people_name_them(
    hue: float, saturation: float, lightness: float, word: str, shade: str
) -> None:
    assert words.color_word(hue, saturation, lightness) == word
    assert words.shade_word(hue, saturation, lightness) == shade


def test_every_color_word_is_one_of_the_listed_colors() -> None:
    steps = [n / 20 for n in range(21)]
    found = {words.color_word(h, s, v) for h in steps for s in steps for v in steps}
    assert found == set(words.COLORS)


def test_hue_wraps_around_the_circle() -> None:
    assert words.color_word(1.34, 0.7, 0.5) == words.color_word(0.34, 0.7, 0.5)


def test_neutral_attributes_earn_no_word() -> None:
    assert words.shape_words(0.5, 0.5, sideways=True) == ()
    assert words.texture_words(0.0, 0.0) == ()
    assert words.size_word(1.0) == ""
    assert words.part_word(0.5) == ""


def test_stretching_is_long_sideways_and_tall_upright() -> None:
    assert words.shape_words(0.5, 0.9, sideways=True) == ("long",)
    assert words.shape_words(0.5, 0.9, sideways=False) == ("tall",)


@pytest.mark.parametrize(
    ("noun", "article"),
    [("dog", "a"), ("apple", "an"), ("unicorn", "a"), ("ukulele", "a"), ("umbrella", "an"), ("hourglass", "an")],
)
def test_articles_follow_the_sound(noun: str, article: str) -> None:
    assert words.indefinite(noun) == f"{article} {noun}"


def test_hue_direction_names_the_color_that_a_shift_leads_to() -> None:
    assert words.hue_direction(0.0, 0.03) == "orange"
    assert words.hue_direction(0.3, 0.05) == "turquoise"
    assert words.hue_direction(0.3, -0.05) == "yellow"


def test_lists_and_sentences_are_punctuated() -> None:
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.sentence("it rains") == "It rains."
