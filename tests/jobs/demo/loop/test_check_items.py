"""Comparisons against the truth of two scenes: right items, found differences, and their scores by axis."""

from __future__ import annotations

import itertools

import pytest

from jobs.demo.loop.check_items import CheckedComparison, check_comparison, check_item, item_scores
from mining.annotate.comparison import Comparison, Item
from scenes.comparing.compare import compare
from scenes.held_out.pairs import alike, edited
from scenes.world.scene import Scene
from tests.scenes.held_out.test_claims import scene, thing

PAIR = (
    scene(thing("car", 0.25), thing("dog", 0.8, 0.33)),
    scene(thing("car", 0.25, 0.61), thing("ball", 0.7), thing("ball", 0.9), place="street"),
)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Image 1 shows a red car, Image 2 a blue car.", True),
        ("Image 1 shows a blue car, Image 2 a red car.", False),
        ("Image 1 shows a dog.", True),
        ("Image 2 shows a dog.", False),
        ("Image 1 shows a car.", False),  # true, but no difference
        ("Image 2 shows two balls.", True),
        ("Image 1 is set in a meadow, Image 2 on a street.", True),
        ("Image 2 shows a house.", True),  # those of the street
        ("Image 1 shows a flower.", True),  # those of the meadow
        ("The car is prettier in the second image.", None),
        ("Nothing.", None),
    ],
)
def test_a_difference_holds_of_its_image_and_tells_the_images_apart(text: str, right: bool | None) -> None:
    assert check_item(Item(text), PAIR, common=False).right is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Both images show a car.", True),
        ("Both images show a red car.", False),
        ("Both images show a dog.", False),
        ("Both images were taken by day.", True),
        ("Both images were taken indoors.", False),
        ("Image 1 shows a car.", False),  # says nothing of the other image
    ],
)
def test_a_commonality_holds_of_both_images(text: str, right: bool) -> None:
    assert check_item(Item(text), PAIR, common=True).right is right


def test_the_axis_is_the_items_own_or_told_by_what_it_says() -> None:
    assert (
        check_item(Item("Image 1 shows a red car, Image 2 a blue car.", "counts"), PAIR, common=False).axis == "counts"
    )
    assert check_item(Item("Image 1 shows a red car, Image 2 a blue car."), PAIR, common=False).axis == "attributes"
    assert check_item(Item("Image 1 shows a dog."), PAIR, common=False).axis == "object types"


def test_true_differences_are_found_by_what_they_are_about() -> None:
    said = Comparison((), (Item("Image 1 shows a red car, Image 2 a blue car."), Item("Image 2 shows two balls.")))
    found = check_comparison(said, *PAIR).found["differences"]
    assert found["attributes"] == (1, 1)
    assert found["object types"] == (1, 2)  # the balls, not the dog
    assert found["locations"] == (0, 1)


def truth(first: Scene, second: Scene) -> Comparison:
    known = compare(first, second)
    lists = (
        [Item(each.text, each.axis) for each in each_list] for each_list in (known.commonalities, known.differences)
    )
    common, different = map(tuple, lists)
    return Comparison(common, different)


def test_the_truth_is_right_and_complete_and_that_of_other_scenes_is_not() -> None:
    pairs = [*itertools.islice(alike(7_000), 15), *itertools.islice(edited(9_000), 15)]
    own = item_scores([check_comparison(truth(*pair), *pair) for pair in pairs])
    assert own["commonalities precision"].value == 1.0
    assert own["differences precision"].value == 1.0
    assert (own["commonalities recall"].value or 0) > 0.95
    assert (own["differences recall"].value or 0) > 0.95
    shifted = zip(pairs, [*pairs[4:], *pairs[:4]], strict=True)
    other = item_scores([check_comparison(truth(*said), *pair) for pair, said in shifted])
    assert (other["differences precision"].value or 0) < 0.2
    assert (other["differences recall"].value or 0) < 0.2


def test_scores_are_over_all_pairs_and_by_axis() -> None:
    said = Comparison(
        (Item("Both images show a car.", "object types"),), (Item("Image 2 shows a dog.", "object types"),)
    )
    figures = item_scores([check_comparison(said, *PAIR)] * 2)
    assert (figures["commonalities precision"].right, figures["commonalities precision"].count) == (2, 2)
    assert figures["differences precision: object types"].value == 0.0
    assert figures["differences recall"].right == 0
    assert figures["differences checkable"].value == 1.0
    empty = item_scores([CheckedComparison((), (), {"commonalities": {}, "differences": {}})])
    assert empty["differences recall"].value is None
