"""One thing of a scene changed and nothing else: subtle differences and hard negatives.

An edit along a local axis leaves every pixel outside the extents of the object concerned as it was; place, light and
view change the background. `compare(scene, edit(scene, axis))` names exactly that axis. Knows nothing about pixels.
Run as: python -m scenes.comparing.edit corpus/7 hue      (prints the comparison)
"""

from __future__ import annotations

import dataclasses
import random
import sys

from scenes.comparing.axes import AXES, SUBTLE, THRESHOLDS, hue_shows
from scenes.comparing.edit_objects import OBJECT_EDITS, SHOWN, replaced, steps
from scenes.world.catalog import ObjectType, Place, load_catalog, surface
from scenes.world.compose import fits, support_of
from scenes.world.geometry import bends, part_shows, visible_shares
from scenes.world.scene import Background, Scene, SceneObject
from scenes.world.seeded_random import pick, rng_of, shuffled


def edit(scene: Scene, axis: str, amount: float | None = None, seed: object = 0, jitter: float = 0.0) -> Scene:
    """The scene with one thing changed along one of `axes.AXES`.

    `amount` is signed: an attribute's shift (hue: turns of the colour circle; size: relative), the move in image
    widths, +1 or -1 object; None draws one. The other axes take no amount. `jitter` > 0 also changes the background's
    decor and, by up to that much, its tint. Raises ValueError for an unknown axis, and where the scene allows no such
    edit.
    """
    if axis not in AXES:
        raise ValueError(f"unknown axis {axis!r}; known: {', '.join(AXES)}")
    rng = rng_of("edit", scene.id, axis, amount, seed)
    objects: tuple[SceneObject, ...] | None = None
    changes: dict[str, str] = {}
    if axis in SUBTLE:
        objects = _attribute(rng, scene, axis, amount)
    elif axis in OBJECT_EDITS:
        objects = OBJECT_EDITS[axis](rng, scene, amount)
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


def _attribute(rng: random.Random, scene: Scene, axis: str, amount: float | None) -> tuple[SceneObject, ...] | None:
    types = load_catalog().types
    amounts = list(steps(rng, axis, amount))
    for i in shuffled(rng, range(len(scene.objects))):
        thing, kind = scene.objects[i], types[scene.objects[i].type]
        if not _varies(thing, kind, axis):
            continue
        for step in amounts:
            changed = _shifted(thing, axis, step)
            if changed is None:
                continue
            objects = replaced(scene, i, changed)
            if objects is not None:
                return objects
    return None


def _varies(thing: SceneObject, kind: ObjectType, axis: str) -> bool:
    """Whether an attribute of an object can be seen to change."""
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
    """The object with an attribute shifted, or None where too little of the shift is possible."""
    if axis == "hue":
        value = round((thing.hue + step) % 1.0, 3)
        return dataclasses.replace(thing, hue=value, entity=None) if abs(step) >= THRESHOLDS["hue"] else None
    if axis == "size":
        factor = 1.0 + step
        if not 0.4 <= factor <= 2.5 or abs(step) < THRESHOLDS["size"] * 1.2:
            return None
        return dataclasses.replace(thing, size=round(thing.size * factor, 3))
    before = getattr(thing, axis)
    # Lightness stops short of black and white, where no colour is left.
    low, high = (0.14, 0.88) if axis == "lightness" else (0.0, 1.0)
    value = round(min(high, max(low, before + step)), 3)
    if abs(value - before) < max(THRESHOLDS[axis], 0.6 * abs(step)) or (value > before) != (step > 0):
        return None
    if axis == "saturation" and hue_shows(thing.saturation, thing.lightness) != hue_shows(value, thing.lightness):
        return None  # hue would appear or vanish with it
    return dataclasses.replace(thing, **{axis: value}, entity=None)


def _surroundings(rng: random.Random, scene: Scene, axis: str) -> tuple[dict[str, str], tuple[SceneObject, ...]] | None:
    """Another place, light or view; contact points follow the surfaces they are on."""
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
        # An overcast sky or a dusk has no meaning indoors.
        if place.indoor and scene.light not in ("day", "night"):
            continue
        objects = _moved(scene, place, scene.view)
        if objects is not None:
            return {"place": place.name}, objects
    return None


def _moved(scene: Scene, place: Place, view: str) -> tuple[SceneObject, ...] | None:
    """The objects at the same relative height of their surfaces in another place or view; None if that hides any."""
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
