from __future__ import annotations

import dataclasses

import pytest

from scenes.world.catalog import load_catalog
from scenes.world.compose import (
    SHOWN,
    CastMember,
    accepted,
    compose,
    depth_at,
    draw_conditions,
    find_spot,
    fits,
    ground_of,
    support_of,
)
from scenes.world.entities import draw_look
from scenes.world.geometry import box, visible_shares
from scenes.world.scene import SceneObject
from scenes.world.seeded_random import rng_of

TYPES, PLACES = load_catalog().types, load_catalog().places
MEADOW = PLACES["meadow"]


def _member(name: str, pose: str, target: int | None = None) -> CastMember:
    return CastMember(draw_look(rng_of("compose", name), TYPES[name]), 1.0, pose, target)


def test_types_stand_on_their_support_or_on_what_may_replace_it() -> None:
    assert support_of(TYPES["dog"], MEADOW) == "ground"
    assert support_of(TYPES["dog"], PLACES["kitchen"]) == "floor"
    assert support_of(TYPES["dog"], PLACES["sea"]) is None
    assert fits(TYPES["dog"], MEADOW)
    assert not fits(TYPES["dog"], PLACES["sea"])


def test_depth_falls_from_the_horizon_to_the_nearest_contact_point() -> None:
    depths = [depth_at(y, MEADOW, "eye-level") for y in (0.5, 0.7, 0.9, 0.97)]
    assert depths == sorted(depths, reverse=True)
    assert (depths[0], depths[-1]) == (1.0, 0.0)


def test_a_spot_leaves_every_object_visible_and_at_its_own_depth() -> None:
    rng = rng_of("spots")
    placed: list[SceneObject] = []
    for _ in range(4):
        look = dataclasses.replace(draw_look(rng, TYPES["dog"]), pose="standing")
        spot = find_spot(rng, look, 0.7, MEADOW, "eye-level", placed)
        if spot is not None:
            placed.append(spot)
    assert len(placed) >= 2
    assert min(visible_shares(placed)) >= SHOWN
    assert not accepted(placed[0], placed)  # no two at one depth
    assert find_spot(rng, placed[0], 1.0, PLACES["sea"], "eye-level", []) is None


@pytest.mark.parametrize(("pose", "verb_side"), [("running", "ahead"), ("jumping", "over")])
def test_a_cast_is_arranged_so_that_its_action_shows(pose: str, verb_side: str) -> None:
    for seed in range(10):
        objects = compose(rng_of(seed), MEADOW, "eye-level", [_member("cat", pose, 1), _member("apple", "standing")])
        if objects is None:
            continue
        actor, target = objects
        assert actor.target == 1
        if verb_side == "over":
            assert box(actor)[3] <= box(target)[1]
        else:
            assert (target.x < actor.x) == (actor.facing == "left")
        return
    pytest.fail("no attempt had room")


def test_leaping_objects_are_above_their_ground() -> None:
    cat = SceneObject("cat", x=0.5, y=0.7, size=1.0)
    assert ground_of(cat) == cat.y
    assert ground_of(dataclasses.replace(cat, pose="jumping")) > cat.y


def test_indoors_there_is_no_dusk() -> None:
    rng = rng_of("conditions")
    drawn = [draw_conditions(rng, PLACES["kitchen"]) for _ in range(200)]
    assert {light for light, _ in drawn} == {"day", "night"}
    assert {view for _, view in drawn} == {"eye-level", "high", "low"}
    assert {draw_conditions(rng, MEADOW)[0] for _ in range(200)} == {"day", "dusk", "night", "overcast"}
