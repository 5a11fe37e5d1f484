"""Arranging a cast in a place: supports, perspective, room for everybody, and actions made visible by placement.

A cast is a list of `Part`s (who, what it does, to whom); the result is a scene's objects. Knows nothing about how the
cast was chosen.
"""

from __future__ import annotations

import dataclasses
import random

from scenes.world.actions import ACTIONS
from scenes.world.catalog import ObjectType, Place, horizon, load_catalog, surface
from scenes.world.geometry import box, perspective, visible_shares
from scenes.world.scene import Facing, Scene, SceneObject
from scenes.world.seeded_random import between, pick

SHOWN = 0.62  # least share of every composed object that must be visible
NEAREST = 0.97  # y of depth 0: the lowest contact point there is
_TRIES = 14
_TABLE = (0.15, 0.5)  # depths of a table's near and far edge: it stands nearer than the wall behind it
_LEAP = 0.09  # how far above the ground a leaping thing of depth 0 is
_TALLEST = 0.86  # of the image height


@dataclasses.dataclass(frozen=True)
class Part:
    """A member of the cast: `look` holds the fields that are the individual itself (`entities.LOOK`)."""

    look: SceneObject
    scale: float  # relative to what is usual for the type
    pose: str
    target: int | None = None  # position in the cast
    facing: Facing | None = None  # None: any


def support_of(kind: ObjectType, place: Place) -> str | None:
    """The surface of the place that a type stands on there, or None where it has none."""
    if kind.support in place.surfaces:
        return kind.support
    # Ground and floor are one thing to whatever stands on its feet; what lies on a table may lie there too.
    for other in {"ground": ("floor",), "floor": ("ground",), "table": ("floor", "ground")}.get(kind.support, ()):
        if other in place.surfaces:
            return other
    return None


def fits(kind: ObjectType, place: Place) -> bool:
    """Whether a type may appear in a place."""
    return support_of(kind, place) is not None and (not kind.places or place.name in kind.places)


def depth_at(y: float, place: Place, view: str) -> float:
    """The depth of a ground contact point: 0 at the nearest, 1 just under the horizon."""
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
    """The thing somewhere on its surface where it and all others stay visible, or None when there is no room."""
    kind = load_catalog().types[thing.type]
    support = support_of(kind, place)
    if support is None:
        return None
    off_ground = support != "air" and thing.pose in kind.drawing.air
    soars = off_ground and thing.pose in ("flying", "gliding") and "air" in place.surfaces
    top, bottom = surface(place, "air" if soars else support, view)
    # What floats before the horizon (a bird, a fish over a reef) may be at any distance.
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
    """Whether a thing fits into the picture with every object at least `shown` visible and no two at one depth."""
    _, top, _, bottom = box(thing)
    if bottom - top > _TALLEST:
        return False
    if any(abs(thing.depth - other.depth) < 0.004 for other in others):
        return False
    return all(share >= shown for share in visible_shares([*others, thing]))


def _beside(rng: random.Random, actor: SceneObject, part: Part, arrangement: str) -> SceneObject:
    """The target of an action, placed where the actor's action reaches it."""
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
    """Left or right, as likely."""
    return "left" if rng.random() < 0.5 else "right"


def _over(rng: random.Random, target: SceneObject, part: Part) -> SceneObject:
    """The actor of an action that happens above its target."""
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
    """The y of the ground under a thing that may be leaping."""
    leaps = thing.pose in load_catalog().types[thing.type].drawing.air
    return round(thing.y + _LEAP * perspective(thing.depth), 3) if leaps else thing.y


def compose(rng: random.Random, place: Place, view: str, cast: list[Part]) -> tuple[SceneObject, ...] | None:
    """Objects for a cast, in cast order, or None when it could not be arranged.

    Only the first member may act on another one, and only on the second. A later member who finds no room is left out.
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
    """A light and a view: mostly plain day at eye level."""
    roll = rng.random()
    if place.indoor:
        light = "day" if roll < 0.8 else "night"
    else:
        light = "day" if roll < 0.55 else "overcast" if roll < 0.7 else "dusk" if roll < 0.84 else "night"
    roll = rng.random()
    return light, "eye-level" if roll < 0.76 else "high" if roll < 0.88 else "low"


def objects_shown(scene: Scene) -> bool:
    """Whether every object of a scene is at least as visible as composed scenes guarantee."""
    return all(share >= SHOWN for share in visible_shares(scene.objects))
