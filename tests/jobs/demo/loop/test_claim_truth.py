"""Claims against scenes made by hand."""

from __future__ import annotations

import pytest

from jobs.demo.loop.claim_truth import holds, terms_of
from jobs.demo.loop.item_claims import claims_of
from scenes.world.scene import Scene
from tests.scenes.held_out.test_claims import scene, thing


@pytest.fixture(scope="module")
def park() -> Scene:
    """A red car on the left and a brown dog that runs on the right, in a meadow by day."""
    dog = thing("dog", 0.8, 0.08, pose="running")
    return scene(thing("car", 0.25), dog.__class__(**{**vars(dog), "lightness": 0.3}))


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("a red car", True),
        ("a blue car", False),
        ("a vehicle", True),
        ("an animal", True),
        ("a cat", False),
        ("a brown dog running", True),
        ("a dog sleeping", False),
        ("a red dog", False),
        ("two cars", False),
        ("one car", True),
        ("a car on the left", True),
        ("a dog on the left", False),
        ("a car to the left of a dog", True),
        ("a dog to the left of a car", False),
        ("a car and a dog", True),
        ("in a meadow", True),
        ("on a street", False),
        ("by day", True),
        ("outdoors", True),
        ("a dog in a kitchen", False),
        ("a flower", True),  # the meadow has some
        ("a red flower", None),
        ("a wooden car", None),
        ("a gizmo", None),
        ("a red car and a gizmo", None),
        ("a blue car and a gizmo", False),
    ],
)
def test_claims_hold_or_fail_or_are_not_understood(park: Scene, text: str, truth: bool | None) -> None:
    assert holds(claims_of(text), park) is truth


def test_things_of_the_background_may_be_left_out(park: Scene) -> None:
    assert holds(claims_of("a flower"), park, background=False) is False
    assert holds(claims_of("a car"), park, background=False) is True


def test_two_claims_of_one_kind_need_two_things(park: Scene) -> None:
    two = scene(thing("ball", 0.2), thing("ball", 0.8, 0.61))
    assert holds(claims_of("a red ball and a blue ball"), two) is True
    assert holds(claims_of("a red ball and a blue ball"), scene(thing("ball", 0.2))) is False
    assert holds(claims_of("several balls"), two) is True
    assert holds(claims_of("three balls"), two) is False


def test_a_part_of_a_thing_is_there() -> None:
    assert holds(claims_of("several windows"), scene(thing("house", 0.5))) is True


def test_nouns_name_types_synonyms_and_categories() -> None:
    assert terms_of("car") == ("car",)
    assert "animal" in terms_of("animal")
    assert terms_of("gizmo") == ()
