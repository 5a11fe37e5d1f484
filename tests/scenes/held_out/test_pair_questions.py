"""Statements and questions about two scenes: answers follow from the truth."""

from __future__ import annotations

import itertools
import re

from scenes.comparing.compare import compare
from scenes.held_out.claims import color_of
from scenes.held_out.pair_questions import pair_questions, statements
from scenes.held_out.pairs import alike
from scenes.world.scene import Scene
from tests.scenes.held_out.test_claims import scene, thing


def pair() -> tuple[Scene, Scene]:
    first = scene(thing("car", 0.3), thing("dog", 0.75, 0.1, pose="running"))
    second = scene(thing("car", 0.5, 0.61), place="street", light="night")
    return first, second


def test_a_true_and_a_false_statement_have_one_form() -> None:
    seen = 0
    for left, right in itertools.islice(alike(), 25):
        both = statements(left, right)
        if both is not None:
            true, false = both
            assert (true.truth, false.truth) == (True, False)
            assert true.text.split()[:3] == false.text.split()[:3]
            seen += 1
    assert seen > 20


def test_questions_are_answered_from_both_images() -> None:
    first, second = pair()
    asked = {each.question: each.answer for each in pair_questions(first, second)}
    assert asked["What color is the car in each image?"] == "The car is red in Image 1 and blue in Image 2."
    assert asked["What color is the car in Image 2?"] == "The car is blue."
    assert asked["Where was each image taken?"] == "Image 1 was taken in a meadow and Image 2 on a street."
    assert asked["How does the light differ between the two images?"] == (
        "Image 1 was taken by day and Image 2 at night."
    )
    assert asked["What is in Image 1 that is not in Image 2?"] == "Image 1 has a dog."
    assert "What is in Image 2 that is not in Image 1?" not in asked


def test_counts_and_actions_are_asked_where_they_differ() -> None:
    one = scene(thing("dog", 0.18, pose="running"), thing("ball", 0.9, 0.61))
    two = scene(thing("dog", 0.18, pose="sleeping"), thing("ball", 0.6, 0.61), thing("ball", 0.9, 0.61))
    asked = {each.question: each.answer for each in pair_questions(one, two)}
    assert asked["How many balls are there in each image?"] == "There is a ball in Image 1 and two balls in Image 2."
    assert asked["What is the dog doing in each image?"] == "The dog is running in Image 1 and sleeping in Image 2."
    assert "How many dogs are there in each image?" not in asked


def test_answers_about_colours_agree_with_the_comparison() -> None:
    for first, second in itertools.islice(alike(), 40):
        said = {difference.text for difference in compare(first, second).differences if difference.change == "hue"}
        for each in pair_questions(first, second):
            match = re.fullmatch(r"The (\w+) is (\w+) in Image 1 and (\w+) in Image 2\.", each.answer)
            if each.kind == "color" and match:
                name, one, other = match.groups()
                for own, color in ((first, one), (second, other)):
                    assert color in {color_of(thing) for thing in own.objects if thing.type == name}
                text = f"The {name} is {one} in the first image and {other} in the second."
                gray = {"gray", "black", "white"} & {one, other}
                assert text in said or gray or "brown" in (one, other)
