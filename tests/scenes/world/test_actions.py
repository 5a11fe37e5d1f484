from __future__ import annotations

import dataclasses

from scenes.world.actions import ACTIONS, action_holds, possible, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.geometry import box
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject

DOG = SceneObject("dog", x=0.3, y=0.8, size=1.0, pose="running", target=1)


def test_the_verb_follows_from_pose_and_target() -> None:
    assert verb_of(DOG) == "chasing"
    assert verb_of(dataclasses.replace(DOG, target=None)) is None
    assert action_holds(Scene("x/0", "meadow", (DOG, DOG)), 0, "chasing", 1)
    assert not action_holds(Scene("x/0", "meadow", (DOG, DOG)), 0, "watching", 1)


def test_nothing_jumps_over_a_house_and_apples_do_not_act() -> None:
    types = load_catalog().types
    assert possible("running", types["dog"], types["cat"])
    assert not possible("standing", types["apple"], types["cat"])


def test_placement_shows_the_action() -> None:
    shown = 0
    for scene in scenes("pretrain", 0, 800):
        for thing in scene.objects:
            if thing.target is None:
                continue
            shown += 1
            target = scene.objects[thing.target]
            action = ACTIONS[thing.pose]
            if action.arrangement == "over":
                assert box(thing)[3] <= box(target)[1] + 0.02
                assert abs(thing.x - target.x) < 0.1
            else:
                assert (target.x < thing.x) == (thing.facing == "left")
            if action.follows:
                assert thing.facing == target.facing
    assert shown > 50
