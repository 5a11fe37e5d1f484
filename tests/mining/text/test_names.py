"""Names in captions: where they begin and end, and what is none."""

from __future__ import annotations

import pytest

from mining.text.names import head_noun, surname
from mining.text.tagging import english_words


def names(caption: str) -> list[str]:
    return [word.text for word in english_words(caption) if word.kind == "M"]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Barack Obama speaks at a rally", ["barack obama"]),
        ("Taylor Swift Performs on Stage in London", ["taylor swift", "london"]),
        ("Leonardo da Vinci's notebook", ["leonardo da vinci"]),
        ("Emma Stone and Tom Hanks", ["emma stone", "tom hanks"]),
        ("a man in Prague, Czechia", ["prague", "czechia"]),
        ("Mount Fuji at dawn", ["mount fuji"]),
    ],
)
def test_people_and_places(caption: str, expected: list[str]) -> None:
    assert names(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Nike Air Max 90 Shoes", ["nike", "air max"]),
        ("Apple iPhone 12 Pro Max Case", ["apple", "iphone pro max"]),
        ("Samsung Galaxy S10 128GB", ["samsung", "galaxy"]),
        ("nike shoes for men", ["nike"]),
        ("Apple Watch band", ["apple watch"]),
        ("a 1967 Ford Mustang", ["ford", "mustang"]),
        ("Zwilling Knife Set", ["zwilling"]),
    ],
)
def test_products_without_their_numbers_beside_their_brand(caption: str, expected: list[str]) -> None:
    assert names(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Eiffel Tower at Sunset", ["eiffel tower"]),
        ("a walk through Central Park", ["central park"]),
        ("people on Abbey Road", ["abbey road"]),
        ("the bar in New York City", ["new york city"]),
        ("new york at night", ["new york"]),
        ("The Beatles on stage", ["beatles"]),
    ],
)
def test_names_of_several_words(caption: str, expected: list[str]) -> None:
    assert names(caption) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "Apple Pie with Ice Cream",
        "Coach talks to his players",
        "Red Leather Handbag With Gold Chain",
        "a Golden Retriever on the grass",
        "MEN'S RUNNING SHOES",
        "TV and DVD player, XXL, 40mm, S10",
        "roses and lilies bloom in may",
        "White horse in a green field",
        "Muddy SUV crossing a river",
        "Turkey in the Oven",
        "Mickey Mouse and Hello Kitty",  # compounds that name one thing
    ],
)
def test_things_in_titles_and_abbreviations_are_no_names(caption: str) -> None:
    assert names(caption) == []


def test_a_name_may_end_in_a_noun_or_in_a_surname() -> None:
    assert (head_noun("eiffel tower"), surname("eiffel tower")) == ("tower", "")
    assert (head_noun("barack obama"), surname("barack obama")) == ("", "obama")
    assert (head_noun("tower"), surname("emma")) == ("", "")
    assert head_noun("emma park") == ""
