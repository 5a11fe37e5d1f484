from __future__ import annotations

import pytest

from scenes.comparing.axes import AXES, GLOBAL_AXES, LOCAL_AXES, hue_shows
from scenes.comparing.compare import compare
from scenes.comparing.edit import edit, editable
from scenes.drawing.render import render
from scenes.world.geometry import SEEN, visible_shares
from scenes.world.sample import scenes

SCENES = list(scenes("corpus", 0, 30))
COLORFUL = next(
    scene for scene in SCENES if all(hue_shows(thing.saturation, thing.lightness) for thing in scene.objects)
)


@pytest.mark.parametrize("axis", LOCAL_AXES)
def test_a_local_edit_changes_no_pixel_outside_the_extents_of_its_objects(axis: str) -> None:
    edited = 0
    for scene in SCENES:
        try:
            other = edit(scene, axis)
        except ValueError:
            continue
        edited += 1
        before, after = render(scene), render(other)
        changed = (before.image != after.image).any(axis=2)
        assert changed.any()
        for i, thing in enumerate(scene.objects):
            if thing not in other.objects:
                changed &= ~before.extents[i]
        for j, thing in enumerate(other.objects):
            if thing not in scene.objects:
                changed &= ~after.extents[j]
        assert not changed.any()
        assert (other.place, other.light, other.view, other.background) == (
            scene.place, scene.light, scene.view, scene.background,
        )  # fmt: skip
    assert edited >= 5


@pytest.mark.parametrize("axis", GLOBAL_AXES)
def test_a_global_edit_changes_that_field_and_keeps_the_looks(axis: str) -> None:
    for scene in SCENES:
        try:
            other = edit(scene, axis)
        except ValueError:
            continue
        assert getattr(other, axis) != getattr(scene, axis)
        looks = [(thing.type, thing.hue, thing.pose, thing.x) for thing in scene.objects]
        assert [(thing.type, thing.hue, thing.pose, thing.x) for thing in other.objects] == looks


def test_edits_are_repeatable_and_seeds_differ() -> None:
    scene = COLORFUL
    assert edit(scene, "hue", seed=3) == edit(scene, "hue", seed=3) != edit(scene, "hue", seed=4)


def test_an_edit_leaves_its_scene_visible() -> None:
    for scene in SCENES:
        for axis in editable(scene):
            assert min(visible_shares(edit(scene, axis).objects)) >= SEEN


def test_the_asked_amount_is_what_changes() -> None:
    for amount in (0.2, -0.2):
        edited = 0
        for scene in SCENES:
            try:
                other = edit(scene, "lightness", amount)
            except ValueError:
                continue
            edited += 1
            (difference,) = compare(scene, other).differences
            assert difference.amount is not None
            assert 0.1 < difference.amount / amount <= 1.001
        assert edited > 10


def test_objects_are_added_and_taken_away() -> None:
    scene = next(scene for scene in SCENES if len({thing.type for thing in scene.objects}) < len(scene.objects))
    assert len(edit(scene, "count", -1).objects) == len(scene.objects) - 1
    lone = next(scene for scene in SCENES if len(scene.objects) == 1)
    assert len(edit(lone, "count", 1).objects) == 2
    with pytest.raises(ValueError, match="count"):
        edit(lone, "count", -1)


def test_jitter_changes_the_background_and_nothing_that_is_compared() -> None:
    scene = COLORFUL
    other = edit(scene, "hue", jitter=0.3)
    assert other.background != scene.background
    assert abs(other.background.tint - scene.background.tint) <= 0.3
    assert [difference.change for difference in compare(scene, other).differences] == ["hue"]


def test_unknown_axes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="roundness"):
        edit(SCENES[0], "smell")


def test_most_axes_can_be_edited_in_most_scenes() -> None:
    possible = [len(editable(scene)) for scene in SCENES]
    assert sum(possible) / len(possible) > 0.6 * len(AXES)


def test_amounts_too_small_to_see_are_refused() -> None:
    with pytest.raises(ValueError, match="allows no edit"):
        edit(COLORFUL, "hue", 0.01)
    assert edit(COLORFUL, "hue", 0.1) != COLORFUL
