from __future__ import annotations

import pytest

from mining.annotate.comparison import AXES
from mining.annotate.item_axis import axis_named, axis_of


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("Both images show a dog.", "object types"),
        ("Image 1 shows a red bus, Image 2 a blue bus.", "attributes"),
        ("The color of the cup is duller in the second image.", "attributes"),
        ("Image 1 shows two dogs, Image 2 one dog.", "counts"),
        ("Both images show two dogs.", "counts"),
        ("Image 1 shows two dogs.", "object types"),
        ("The first image shows more boats than the second.", "counts"),
        ("The dog runs in Image 1 and sleeps in Image 2.", "actions"),
        ("Both images are set on a beach.", "locations"),
        ("Image 1 was taken at night, Image 2 by day.", "locations"),
        ("The dog is to the left of the cat in both images.", "relative positions"),
        ("Der Hund ist braun.", None),
        ("", None),
    ],
)
def test_the_words_of_a_sentence_tell_its_axis(text: str, axis: str | None) -> None:
    assert axis_of(text) == axis


@pytest.mark.parametrize(
    ("label", "axis"),
    [
        ("Object Types", "object types"),
        ("Colors", "attributes"),
        ("Relative Positioning", "relative positions"),
        ("Counting", "counts"),
        ("Actions and activities", "actions"),
        ("Location Differences", "locations"),
        ("Image 1", None),
        ("", None),
    ],
)
def test_headings_name_an_axis(label: str, axis: str | None) -> None:
    assert axis_named(label) == axis


def test_every_axis_names_itself() -> None:
    assert [axis_named(axis) for axis in AXES] == list(AXES)
