"""Changes one thing of a scene and nothing else: for subtle differences and hard negatives.

An edit along a local axis keeps every pixel outside the extents of the object concerned; an edit of place, light or
view changes the background. `compare(scene, edit(scene, axis))` then names exactly that axis.
Run as: python -m scenes.comparing.edit corpus/7 hue      (prints the comparison)
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable, Iterator

from scenes.comparing.axes import AXES, SUBTLE, THRESHOLDS, hue_shows
from scenes.world.actions import ACTIONS, acts, possible
from scenes.world.catalog import Catalog, ObjectType, Place, load_catalog, surface
from scenes.world.compose import either_side, find_spot, fits, support_of
from scenes.world.facts import confusable
from scenes.world.geometry import SEEN, bends, part_shows, relative_size, visible_shares
from scenes.world.scene import Background, Scene, SceneObject
from scenes.world.seeded_random import between, pick, rng_of, shuffled

SHOWN = SEEN + 0.05  # an edit leaves every object at least this visible
_TRIES = 30  # types that are tried in an edit of the type
_STEP = {"hue": (0.12, 0.4), "size": (0.25, 0.45), "position": (0.15, 0.45)}  # (least, most) size of a drawn amount
_USUAL_STEP = (0.25, 0.55)


def edit(scene: Scene, axis: str, amount: float | None = None, seed: object = 0, jitter: float = 0.0) -> Scene:
    """The scene with one change along one of `axes.AXES`.

    amount: the signed shift of an attribute (hue: turns of the colour circle; size: relative) or of the position (image
        widths), or +1 or -1 object; None: a random one. Other axes ignore it.
    jitter: if positive, the decor of the background changes too, and its tint by up to this amount.
    Raises ValueError for an unknown axis, and when the scene allows no such edit.
    """
    if axis not in AXES:
        raise ValueError(f"unknown axis {axis!r}; known: {', '.join(AXES)}")
    rng = rng_of("edit", scene.id, axis, amount, seed)
    objects: tuple[SceneObject, ...] | None = None
    changes: dict[str, str] = {}
    if axis in SUBTLE:
        objects = _attribute(rng, scene, axis, amount)
    elif axis in _OBJECT_EDITS:
        objects = _OBJECT_EDITS[axis](rng, scene, amount)
    else:
        found = _surroundings(rng, scene, axis)
        if found is not None:
            changes, objects = found
    if objects is None:
        raise ValueError(f"scene {scene.id} allows no edit along {axis!r}" + (f" by {amount}" if amount else ""))
    background = scene.background
    if jitter:
        tint = min(1.0, max(-1.0, background.tint + jitter * (2 * rng.random() - 1)))
        background = Background(rng.getrandbits(28) * 10 + 9, round(tint, 3))
    now = {"place": scene.place, "light": scene.light, "view": scene.view} | changes
    name = f"{scene.id}~{axis}~{seed}"
    return Scene(name, now["place"], objects, now["light"], now["view"], background)


def editable(scene: Scene, seed: object = 0) -> tuple[str, ...]:
    """The axes along which the scene can be edited with this seed, in the order of AXES."""
    found = []
    for axis in AXES:
        try:
            edit(scene, axis, seed=seed)
        except ValueError:
            continue
        found.append(axis)
    return tuple(found)


def _replaced(scene: Scene, i: int, thing: SceneObject) -> tuple[SceneObject, ...] | None:
    """The objects with object i replaced, or None if that would hide any."""
    objects = (*scene.objects[:i], thing, *scene.objects[i + 1 :])
    # Objects that were visible must stay visible; hidden ones may stay hidden.
    shares = zip(visible_shares(objects), visible_shares(scene.objects), strict=True)
    return objects if all(now >= min(SHOWN, before) for now, before in shares) else None


def _steps(rng: random.Random, axis: str, amount: float | None) -> Iterator[float]:
    """Amounts to try: the given one, or random ones of both signs."""
    if amount is not None:
        yield amount
        return
    low, high = _STEP.get(axis, _USUAL_STEP)
    for _ in range(8):
        step = between(rng, low, high)
        yield from (step, -step) if rng.random() < 0.5 else (-step, step)


def _attribute(rng: random.Random, scene: Scene, axis: str, amount: float | None) -> tuple[SceneObject, ...] | None:
    types = load_catalog().types
    amounts = list(_steps(rng, axis, amount))
    for i in shuffled(rng, range(len(scene.objects))):
        thing, kind = scene.objects[i], types[scene.objects[i].type]
        if not _varies(thing, kind, axis):
            continue
        for step in amounts:
            changed = _shifted(thing, axis, step)
            if changed is None:
                continue
            objects = _replaced(scene, i, changed)
            if objects is not None:
                return objects
    return None


def _varies(thing: SceneObject, kind: ObjectType, axis: str) -> bool:
    """Whether a change of an object's attribute is visible."""
    if axis == "roundness":
        return bends(kind.name)
    if axis == "elongation":
        return kind.shape_words
    if axis == "part_scale":
        return part_shows(kind.name, thing.pose)
    if axis == "hue":
        return hue_shows(thing.saturation, thing.lightness)
    return 0.1 < thing.lightness < 0.92 if axis == "saturation" else True


def _shifted(thing: SceneObject, axis: str, step: float) -> SceneObject | None:
    """The object with an attribute shifted, or None when too little of the shift is possible."""
    if axis == "hue":
        value = round((thing.hue + step) % 1.0, 3)
        return dataclasses.replace(thing, hue=value, entity=None) if abs(step) >= THRESHOLDS["hue"] else None
    if axis == "size":
        factor = 1.0 + step
        if not 0.4 <= factor <= 2.5 or abs(step) < THRESHOLDS["size"] * 1.2:
            return None
        return dataclasses.replace(thing, size=round(thing.size * factor, 3))
    before = getattr(thing, axis)
    # Lightness stays away from black and white, which have no hue.
    low, high = (0.14, 0.88) if axis == "lightness" else (0.0, 1.0)
    value = round(min(high, max(low, before + step)), 3)
    if abs(value - before) < max(THRESHOLDS[axis], 0.6 * abs(step)) or (value > before) != (step > 0):
        return None
    if axis == "saturation" and hue_shows(thing.saturation, thing.lightness) != hue_shows(value, thing.lightness):
        return None  # the hue would become visible or invisible
    return dataclasses.replace(thing, **{axis: value}, entity=None)


def _type(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    """An object of another type with the same support and pose and a similar height; near categories come first."""
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
            objects = _replaced(scene, i, dataclasses.replace(thing, type=other.name, entity=None))
            if objects is not None:
                return objects
    return None


def _keeps_actions(scene: Scene, i: int, kind: ObjectType, catalog: Catalog) -> bool:
    """Whether all directed actions stay possible when object i gets another type."""
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
    """The objects and a copy of one of them."""
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
    """The objects without one of several of a type, one that is neither actor nor target."""
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
    """Another pose, also on the ground or also off it; a target is kept if the new pose can have it."""
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
            objects = _replaced(scene, i, changed)
            if objects is not None:
                return objects
    return None


def _position(rng: random.Random, scene: Scene, amount: float | None) -> tuple[SceneObject, ...] | None:
    """One object moved sideways; an actor and its target keep their sides of each other."""
    for i in shuffled(rng, range(len(scene.objects))):
        thing = scene.objects[i]
        actors = [k for k, other in enumerate(scene.objects) if other.target == i]
        partners = actors + ([thing.target] if thing.target is not None else [])
        pairs = [(i, thing.target)] if thing.target is not None else []
        pairs += [(k, i) for k in actors]
        if any(ACTIONS[scene.objects[k].pose].arrangement != "ahead" for k, _ in pairs):
            continue
        for step in _steps(rng, "position", amount):
            x = round(thing.x + step, 3)
            if abs(step) < THRESHOLDS["position"] or not 0.04 < x < 0.96:
                continue
            if any((thing.x < scene.objects[k].x) != (x < scene.objects[k].x) for k in partners):
                continue
            objects = _replaced(scene, i, dataclasses.replace(thing, x=x))
            if objects is not None:
                return objects
    return None


_OBJECT_EDITS: dict[str, Callable[[random.Random, Scene, float | None], tuple[SceneObject, ...] | None]] = {
    "type": _type,
    "count": _count,
    "pose": _pose,
    "position": _position,
}


def _surroundings(rng: random.Random, scene: Scene, axis: str) -> tuple[dict[str, str], tuple[SceneObject, ...]] | None:
    """Another place, light or view; contact points move with their surfaces."""
    catalog = load_catalog()
    here = catalog.places[scene.place]
    if axis == "light":
        lights = ("day", "night") if here.indoor else ("day", "dusk", "night", "overcast")
        return {"light": pick(rng, [light for light in lights if light != scene.light])}, scene.objects
    if axis == "view":
        for view in shuffled(rng, [view for view in ("eye-level", "low", "high") if view != scene.view]):
            objects = _moved(scene, here, view)
            if objects is not None:
                return {"view": view}, objects
        return None
    others = [
        place
        for name, place in sorted(catalog.places.items())
        if name != scene.place and all(fits(catalog.types[thing.type], place) for thing in scene.objects)
    ]
    for place in shuffled(rng, others):
        # Places indoors have no overcast light and no dusk.
        if place.indoor and scene.light not in ("day", "night"):
            continue
        objects = _moved(scene, place, scene.view)
        if objects is not None:
            return {"place": place.name}, objects
    return None


def _moved(scene: Scene, place: Place, view: str) -> tuple[SceneObject, ...] | None:
    """The objects at the same relative position of their surfaces in another place or view; None if one gets hidden."""
    catalog = load_catalog()
    before = catalog.places[scene.place]
    moved = []
    for thing in scene.objects:
        kind = catalog.types[thing.type]
        old, new = support_of(kind, before), support_of(kind, place)
        if old is None or new is None:
            return None
        top, bottom = surface(before, old, scene.view)
        new_top, new_bottom = surface(place, new, view)
        share = (thing.y - top) / (bottom - top) if bottom > top else 0.5
        moved.append(dataclasses.replace(thing, y=round(new_top + share * (new_bottom - new_top), 3)))
    shares = zip(visible_shares(moved), visible_shares(scene.objects), strict=True)
    return tuple(moved) if all(now >= min(SHOWN, was) for now, was in shares) else None


if __name__ == "__main__":
    from scenes.comparing.compare import compare
    from scenes.world.sample import sample

    split, _, number = sys.argv[1].rpartition("/")
    original = sample(split, int(number))
    print(compare(original, edit(original, sys.argv[2])).text())
