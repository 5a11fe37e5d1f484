from __future__ import annotations

import dataclasses
import itertools

import pytest

from scenes.comparing.axes import AXES, CAD_AXES, SUBTLE
from scenes.comparing.compare import Commonality, Difference, compare, match
from scenes.comparing.edit import edit
from scenes.world.facts import facts_hold
from scenes.world.sample import sample, scenes
from scenes.world.scene import Scene, SceneObject

SCENES = list(scenes("corpus", 0, 120))


def test_a_scene_does_not_differ_from_itself() -> None:
    for scene in SCENES:
        found = compare(scene, scene)
        assert found.differences == ()
        assert {item.axis for item in found.commonalities} >= {"object types", "locations"}


@pytest.mark.parametrize("axis", AXES)
def test_comparing_with_an_edit_names_that_axis_and_no_other(axis: str) -> None:
    edited = 0
    for scene in SCENES:
        for seed in range(2):
            try:
                other = edit(scene, axis, seed=seed)
            except ValueError:
                continue
            edited += 1
            found = compare(scene, other)
            assert {difference.change for difference in found.differences} == {axis}, found.text()
            back = compare(other, scene)
            assert {difference.change for difference in back.differences} == {axis}, back.text()
    assert edited > 20


def test_both_lists_are_true_of_both_scenes() -> None:
    for a, b in itertools.pairwise(SCENES):
        found = compare(a, b)
        items: list[Commonality | Difference] = [*found.commonalities, *found.differences]
        for item in items:
            assert item.axis in CAD_AXES
            assert facts_hold(a, item.facts_a), item
            assert facts_hold(b, item.facts_b), item


def test_continuous_differences_are_signed_and_change_sign_with_the_order() -> None:
    for scene in SCENES[:40]:
        for axis in ("lightness", "size", "roughness"):
            other = edit(scene, axis)
            (there,), (back,) = compare(scene, other).differences, compare(other, scene).differences
            assert there.amount is not None
            assert back.amount == pytest.approx(-there.amount, abs=1e-3)
            assert there.subtle == SUBTLE[axis]


def test_individuals_are_matched_before_look_alikes() -> None:
    rex = SceneObject("dog", x=0.2, y=0.8, size=1.0, entity="Rex", hue=0.1)
    double = SceneObject("dog", x=0.7, y=0.8, size=1.0, depth=0.1, hue=0.1)
    moved = dataclasses.replace(rex, x=0.7)
    a, b = Scene("x/0", "meadow", (rex, double)), Scene("x/1", "meadow", (dataclasses.replace(double, x=0.2), moved))
    assert match(a, b) == ((0, 1), (1, 0))


def test_an_object_of_another_type_at_the_same_spot_is_matched() -> None:
    for scene in SCENES[:40]:
        try:
            other = edit(scene, "type")
        except ValueError:
            continue
        assert match(scene, other) == tuple((i, i) for i in range(len(scene.objects)))


def test_the_text_has_both_numbered_lists() -> None:
    text = compare(sample("corpus", 0), sample("corpus", 1)).text()
    assert text.startswith("Commonalities:\n")
    assert "\nDifferences:\n1. " in text
