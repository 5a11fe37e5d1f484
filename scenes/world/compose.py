"""Arranges a cast in a place: supports, perspective, visibility of all objects, and positions that show the actions.

A cast is a list of `CastMember`s (a look, a pose, a target); the result is the objects of a scene.
"""

from __future__ import annotations

import dataclasses
import random

from scenes.world.actions import ACTIONS
from scenes.world.catalog import ObjectType, Place, horizon, load_catalog, surface
from scenes.world.geometry import box, perspective, visible_shares
from scenes.world.scene import Facing, SceneObject
from scenes.world.seeded_random import between, pick

SHOWN = 0.62  # least visible share of every composed object
NEAREST = 0.97  # y of depth 0: the lowest contact point
_TRIES = 14
_TABLE = (0.15, 0.5)  # depths of a table's near and far edge; the table is in front of the wall
_LEAP = 0.09  # height above the ground of a leaping object at depth 0
_TALLEST = 0.86  # greatest height of an object, as a fraction of the image's


@dataclasses.dataclass(frozen=True)
class CastMember:
    """An object to be placed."""

    look: SceneObject  # only the fields of `entities.LOOK` are used
    scale: float  # size relative to the usual one of the type
    pose: str
    target: int | None = None  # position in the cast
    facing: Facing | None = None  # None: any


def support_of(kind: ObjectType, place: Place) -> str | None:
    """The surface of the place that a type stands on, or None when it has none."""
    if kind.support in place.surfaces:
        return kind.support
    # Types of the ground may stand on a floor and vice versa; types of a table may stand on either.
    for other in {"ground": ("floor",), "floor": ("ground",), "table": ("floor", "ground")}.get(kind.support, ()):
        if other in place.surfaces:
            return other
    return None


def fits(kind: ObjectType, place: Place) -> bool:
    """Whether a type may appear in a place."""
    return support_of(kind, place) is not None and (not kind.places or place.name in kind.places)


def depth_at(y: float, place: Place, view: str) -> float:
    """The depth of a ground contact point: 0 for the nearest, 1 just below the horizon."""
    far = horizon(place, view) + 0.05
    return round(min(1.0, max(0.0, (NEAREST - y) / (NEAREST - far))), 3)


def find_spot(
    rng: random.Random,
    thing: SceneObject,
    scale: float,
    place: Place,
    view: str,
    others: list[SceneObject],
    shown: float = SHOWN,
) -> SceneObject | None:
    """The object at a random spot of its surface where it and all others are visible, or None when there is no room."""
    kind = load_catalog().types[thing.type]
    support = support_of(kind, place)
    if support is None:
        return None
    off_ground = support != "air" and thing.pose in kind.drawing.air
    soars = off_ground and thing.pose in ("flying", "gliding") and "air" in place.surfaces
    top, bottom = surface(place, "air" if soars else support, view)
    # What floats above the horizon (a bird, a fish over a reef) may be at any depth.
    high = top < horizon(place, view)
    for _ in range(_TRIES):
        y = top + (bottom - top) * rng.random()
        depth = between(rng, 0.1, 0.9) if high else depth_at(y, place, view)
        if support == "table":
            depth = round(_TABLE[0] + (_TABLE[1] - _TABLE[0]) * (bottom - y) / (bottom - top), 3)
        if off_ground and not high:
            y -= _LEAP * perspective(depth)
        size = round(scale * perspective(depth), 3)
        candidate = dataclasses.replace(thing, y=round(y, 3), size=size, depth=depth)
        left, upper, right, _ = box(candidate)
        if upper < 0:
            if not high:
                continue
            candidate = dataclasses.replace(candidate, y=round(y - upper + 0.01, 3))
        half = (right - left) / 2
        candidate = dataclasses.replace(candidate, x=between(rng, min(half, 0.45), max(1 - half, 0.55)))
        if accepted(candidate, others, shown):
            return candidate
    return None


def accepted(thing: SceneObject, others: list[SceneObject], shown: float = SHOWN) -> bool:
    """Whether an object fits: not too tall, every object visible by at least `shown`, and no two at the same depth."""
    _, top, _, bottom = box(thing)
    if bottom - top > _TALLEST:
        return False
    if any(abs(thing.depth - other.depth) < 0.004 for other in others):
        return False
    return all(share >= shown for share in visible_shares([*others, thing]))


def _beside(rng: random.Random, actor: SceneObject, part: CastMember, arrangement: str) -> SceneObject:
    """The target of an action, placed in front of the actor."""
    side = -1 if actor.facing == "left" else 1
    gap = 0.01 if arrangement == "touching" else 0.04 + 0.16 * rng.random()
    depth = round(min(1.0, max(0.0, actor.depth + 0.008 * pick(rng, (-1, 1)))), 3)
    facing = part.facing or either_side(rng)
    target = dataclasses.replace(
        part.look,
        y=ground_of(actor),
        size=round(part.scale * perspective(depth), 3),
        depth=depth,
        pose=part.pose,
        facing=facing,
    )
    x = actor.x + side * (_width(actor) / 2 + gap + _width(target) / 2)
    return dataclasses.replace(target, x=round(x, 3))


def either_side(rng: random.Random) -> Facing:
    """Left or right with equal probability."""
    return "left" if rng.random() < 0.5 else "right"


def _over(rng: random.Random, target: SceneObject, part: CastMember) -> SceneObject:
    """The actor of an action, placed above its target."""
    depth = round(max(0.0, target.depth - 0.008), 3)
    y = box(target)[1] - 0.02 - 0.05 * rng.random()
    return dataclasses.replace(
        part.look,
        x=round(target.x + 0.06 * (rng.random() - 0.5), 3),
        y=round(y, 3),
        size=round(part.scale * perspective(depth), 3),
        depth=depth,
        pose=part.pose,
        facing=part.facing or either_side(rng),
    )


def _width(thing: SceneObject) -> float:
    left, _, right, _ = box(thing)
    return right - left


def ground_of(thing: SceneObject) -> float:
    """The y of the ground under an object that may be leaping."""
    leaps = thing.pose in load_catalog().types[thing.type].drawing.air
    return round(thing.y + _LEAP * perspective(thing.depth), 3) if leaps else thing.y


def compose(rng: random.Random, place: Place, view: str, cast: list[CastMember]) -> tuple[SceneObject, ...] | None:
    """The objects of a cast, in cast order, or None when it could not be arranged.

    Only the first member may have a target, which must be the second member. A later member is left out if there is no
    room for it.
    """
    first = cast[0]
    action = ACTIONS.get(first.pose) if first.target is not None else None
    lead = cast[1] if action is not None and action.arrangement == "over" else first
    for _ in range(5):
        facing = lead.facing or either_side(rng)
        start = dataclasses.replace(lead.look, pose=lead.pose, facing=facing)
        placed = find_spot(rng, start, lead.scale, place, view, [])
        if placed is None:
            return None
        done = [placed]
        if action is not None:
            if lead is first:
                second = _beside(rng, placed, cast[1], action.arrangement)
                if action.follows:
                    second = dataclasses.replace(second, facing=placed.facing)
            else:
                second = _over(rng, placed, first)
            if not accepted(second, done):
                continue
            done = [placed, second] if lead is first else [second, placed]
            done[0] = dataclasses.replace(done[0], target=1)
        for part in cast[len(done) :]:
            other = dataclasses.replace(part.look, pose=part.pose, facing=part.facing or either_side(rng))
            spot = find_spot(rng, other, part.scale, place, view, done)
            if spot is not None:
                done.append(spot)
        return tuple(done)
    return None


def draw_conditions(rng: random.Random, place: Place) -> tuple[str, str]:
    """A random light and a random view; day and eye level are the most likely."""
    roll = rng.random()
    if place.indoor:
        light = "day" if roll < 0.8 else "night"
    else:
        light = "day" if roll < 0.55 else "overcast" if roll < 0.7 else "dusk" if roll < 0.84 else "night"
    roll = rng.random()
    return light, "eye-level" if roll < 0.76 else "high" if roll < 0.88 else "low"
