from __future__ import annotations

import dataclasses

import pytest

from scenes.world.facts import confusable, count, fact_holds, facts_hold
from scenes.world.scene import Scene, SceneObject

DOG = SceneObject(
    "dog", x=0.3, y=0.8, size=1.0, depth=0.3, pose="running", target=1, hue=0.08, saturation=0.5, lightness=0.3
)
APPLE = SceneObject("apple", x=0.75, y=0.8, size=1.4, depth=0.31, hue=0.0, saturation=0.8, lightness=0.5, gloss=0.9)
SCENE = Scene("x/0", "meadow", (DOG, APPLE), light="night")


@pytest.mark.parametrize(
    "fact",
    [
        ("object", 0, "dog"),
        ("object", 0, "animal"),
        ("count", "dog", 1),
        ("count", "cat", 0),
        ("color", 1, "red"),
        ("color", 0, "brown"),
        ("size", 1, "big"),
        ("texture", 1, "glossy"),
        ("pose", 0, "running"),
        ("action", 0, "chasing", 1),
        ("place", "meadow"),
        ("light", "night"),
        ("view", "eye-level"),
        ("left_of", 0, 1),
        ("zone", 0, "left"),
        ("absent", "cat"),
        ("indoors", False),
    ],
)
def test_true_facts_hold(fact: tuple[object, ...]) -> None:
    assert fact_holds(SCENE, fact)


@pytest.mark.parametrize(
    "fact",
    [
        ("object", 0, "cat"),
        ("count", "animal", 2),
        ("color", 1, "blue"),
        ("size", 0, "big"),
        ("action", 1, "chasing", 0),
        ("place", "beach"),
        ("right_of", 0, 1),
        ("absent", "animal"),
        ("entity", 0, "Biscuit"),
    ],
)
def test_false_facts_do_not_hold(fact: tuple[object, ...]) -> None:
    assert not fact_holds(SCENE, fact)


def test_larger_means_clearly_more_of_the_picture() -> None:
    small = dataclasses.replace(SCENE, objects=(DOG, dataclasses.replace(APPLE, size=0.7)))
    assert fact_holds(small, ("larger", 0, 1))
    assert not fact_holds(small, ("larger", 1, 0))
    assert not fact_holds(dataclasses.replace(SCENE, objects=(APPLE, APPLE)), ("larger", 0, 1))


def test_one_false_fact_spoils_all() -> None:
    assert facts_hold(SCENE, [("object", 0, "dog"), ("light", "night")])
    assert not facts_hold(SCENE, [("object", 0, "dog"), ("light", "day")])


def test_nothing_holds_of_an_object_that_cannot_be_seen() -> None:
    before_it = dataclasses.replace(APPLE, x=0.3, y=0.85, size=4.0, depth=0.1)
    covered = dataclasses.replace(SCENE, objects=(DOG, before_it))
    assert fact_holds(SCENE, ("object", 0, "dog"))
    assert not fact_holds(covered, ("object", 0, "dog"))
    assert count(covered, "dog") == 0
    assert not fact_holds(covered, ("absent", "dog"))


def test_a_kind_of_fact_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="smell"):
        fact_holds(SCENE, ("smell", 0, "sweet"))


def test_a_category_and_its_member_are_confusable() -> None:
    assert not confusable("dog", "dog")
    assert not confusable("dog", "apple")
