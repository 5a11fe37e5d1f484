"""Edits of what objects there are, what they do and where: type, count, pose and position. Part of `edit.py`."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator

from scenes.comparing.axes import THRESHOLDS
from scenes.world.actions import ACTIONS, acts, possible
from scenes.world.catalog import Catalog, ObjectType, load_catalog
from scenes.world.compose import either_side, find_spot, fits
from scenes.world.facts import confusable
from scenes.world.geometry import SEEN, relative_size, visible_shares
from scenes.world.scene import Scene, SceneObject
from scenes.world.seeded_random import between, pick, shuffled

SHOWN = SEEN + 0.05  # an edit leaves every object at least this visible
_TRIES = 30
_STEP = {"hue": (0.12, 0.4), "size": (0.25, 0.45), "position": (0.15, 0.45)}  # (least, most) size of a drawn amount
_USUAL_STEP = (0.25, 0.55)


def replaced(scene: Scene, i: int, thing: SceneObject) -> tuple[SceneObject, ...] | None:
    """The objects with one exchanged, or None if that would hide any."""
    objects = (*scene.objects[:i], thing, *scene.objects[i + 1 :])
    # What was hidden before may stay so; what could be seen must still be.
    shares = zip(visible_shares(objects), visible_shares(scene.objects), strict=True)
    return objects if all(now >= min(SHOWN, before) for now, before in shares) else None


def steps(rng: random.Random, axis: str, amount: float | None) -> Iterator[float]:
    """Amounts to try: the one asked for, or drawn ones of either sign."""
    if amount is not None:
        yield amount
        return
    low, high = _STEP.get(axis, _USUAL_STEP)
    for _ in range(8):
        step = between(rng, low, high)
        yield from (step, -step) if rng.random() < 0.5 else (-step, step)


def _type(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    """Another type of the same support, pose and about the same height; the nearest relatives come first."""
    catalog = load_catalog()
    place = catalog.places[scene.place]
    here = {thing.type for thing in scene.objects}
    for i in shuffled(rng, range(len(scene.objects))):
        thing, kind = scene.objects[i], catalog.types[scene.objects[i].type]
        others = [
            other
            for name, other in sorted(catalog.types.items())
            if name not in here
            and not any(confusable(name, present) for present in here)
            and other.support == kind.support
            and fits(other, place)
            and thing.pose in other.poses
            and (thing.pose in kind.drawing.air) == (thing.pose in other.drawing.air)
            and acts(other) == acts(kind)
            and 0.5 < other.size / kind.size < 2
            and _keeps_actions(scene, i, other, catalog)
        ]
        ranked = sorted(
            shuffled(rng, others), key=lambda other: -sum(x == y for x, y in zip(kind.path, other.path, strict=False))
        )
        for other in ranked[:_TRIES]:
            objects = replaced(scene, i, dataclasses.replace(thing, type=other.name, entity=None))
            if objects is not None:
                return objects
    return None


def _keeps_actions(scene: Scene, i: int, kind: ObjectType, catalog: Catalog) -> bool:
    """Whether all directed actions stay possible when object i becomes of another type."""
    thing = scene.objects[i]
    if thing.target is not None and not possible(thing.pose, kind, catalog.types[scene.objects[thing.target].type]):
        return False
    actors = (other for other in scene.objects if other.target == i)
    return all(possible(actor.pose, catalog.types[actor.type], kind) for actor in actors)


def _count(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    both: list[Callable[[random.Random, Scene], tuple[SceneObject, ...] | None]] = [_one_more, _one_less]
    changes = shuffled(rng, both) if amount is None else both[:1] if amount > 0 else both[1:]
    for change in changes:
        objects = change(rng, scene)
        if objects is not None:
            return objects
    return None


def _one_more(rng: random.Random, scene: Scene) -> tuple[SceneObject, ...] | None:
    """The objects and one more like one of them."""
    place = load_catalog().places[scene.place]
    for i in shuffled(rng, range(len(scene.objects))):
        thing = scene.objects[i]
        scale = relative_size(thing)
        twin = dataclasses.replace(thing, entity=None, target=None, seed=rng.getrandbits(24), facing=either_side(rng))
        for shown in (0.6, SHOWN):
            others = list(scene.objects)
            spot = find_spot(rng, twin, scale, place, scene.view, others, shown=shown)
            if spot is not None:
                return (*scene.objects, spot)
    return None


def _one_less(rng: random.Random, scene: Scene) -> tuple[SceneObject, ...] | None:
    """The objects without one of several alike, who neither acts on another nor is acted on."""
    targets = {thing.target for thing in scene.objects}
    spare = [
        i
        for i, thing in enumerate(scene.objects)
        if sum(other.type == thing.type for other in scene.objects) > 1 and i not in targets and thing.target is None
    ]
    if not spare:
        return None
    gone = pick(rng, spare)
    return tuple(
        dataclasses.replace(thing, target=thing.target - 1)
        if thing.target is not None and thing.target > gone
        else thing
        for i, thing in enumerate(scene.objects)
        if i != gone
    )


def _pose(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    """Another pose; a target is kept where the new pose can have it. Nobody takes off or lands."""
    types = load_catalog().types
    for i in shuffled(rng, range(len(scene.objects))):
        thing, kind = scene.objects[i], types[scene.objects[i].type]
        air = kind.drawing.air
        action = ACTIONS.get(thing.pose)
        if thing.target is not None and action is not None and action.arrangement == "over":
            continue
        poses = [pose for pose in kind.poses if pose != thing.pose and (pose in air) == (thing.pose in air)]
        for pose in shuffled(rng, poses):
            changed = dataclasses.replace(thing, pose=pose)
            if thing.target is not None and not possible(pose, kind, types[scene.objects[thing.target].type]):
                changed = dataclasses.replace(changed, target=None)
            objects = replaced(scene, i, changed)
            if objects is not None:
                return objects
    return None


def _position(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    """One object moved sideways. Who acts on another, or is acted on, stays on its side of the other."""
    for i in shuffled(rng, range(len(scene.objects))):
        thing = scene.objects[i]
        actors = [k for k, other in enumerate(scene.objects) if other.target == i]
        partners = actors + ([thing.target] if thing.target is not None else [])
        pairs = [(i, thing.target)] if thing.target is not None else []
        pairs += [(k, i) for k in actors]
        if any(ACTIONS[scene.objects[k].pose].arrangement != "ahead" for k, _ in pairs):
            continue
        for step in steps(rng, "position", amount):
            x = round(thing.x + step, 3)
            if abs(step) < THRESHOLDS["position"] or not 0.04 < x < 0.96:
                continue
            if any((thing.x < scene.objects[k].x) != (x < scene.objects[k].x) for k in partners):
                continue
            objects = replaced(scene, i, dataclasses.replace(thing, x=x))
            if objects is not None:
                return objects
    return None


OBJECT_EDITS: dict[str, Callable[[random.Random, Scene, float | None], tuple[SceneObject, ...] | None]] = {
    "type": _type,
    "count": _count,
    "pose": _pose,
    "position": _position,
}
