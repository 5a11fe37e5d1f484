"""The easy world: scenes of 38 types that can be told apart at a glance, for language models of a few million weights.

The full world has hundreds of types of very different frequency, which a model cannot learn to name in an hour. Here
all types are equally likely, all objects can be seen and are not tiny, and none has a name. Splits are those of the
full world: they share no scene, and only `test` shows held-out compositions.
Run as: python -m scenes.world.easy corpus 7     (prints the scene's JSON)
"""

from __future__ import annotations

import dataclasses
import functools
import random
import sys

from scenes.world.actions import possible
from scenes.world.catalog import ObjectType, Place, load_catalog
from scenes.world.compose import CastMember, compose, draw_conditions, fits
from scenes.world.entities import draw_look, draw_scale
from scenes.world.facts import confusable
from scenes.world.geometry import box, seen
from scenes.world.sample import background_of
from scenes.world.scene import Scene, to_json
from scenes.world.seeded_random import pick, rng_of
from scenes.world.splits import SPLITS, held_out

_TYPES = """
man woman dog cat horse cow sheep elephant penguin owl butterfly duck car truck bus train bicycle boat airplane house
tree flower ball balloon cup bottle book hat bag chair sofa bed lamp guitar umbrella apple cake banana
"""
EASY_TYPES = tuple(sorted(_TYPES.split()))
# (cumulative probability, number of objects)
_COUNTS = ((0.2, 1), (0.65, 2), (0.93, 3), (1.0, 4))
_ALIKE = 0.2  # share of scenes that begin with two or three objects of the same type and look
_ACTS = 0.6  # share of possible directed actions that happen
_SMALLEST = 0.16  # least height or width of an object, whichever is larger, as a fraction of the image's
_ATTEMPTS = 400


def easy_scene(split: str, number: int) -> Scene:
    """Scene `number` of a split of the easy world, with the id "easy-<split>/<number>"; the same on every machine.

    Raises KeyError for an unknown split.
    """
    novel = SPLITS[split].held_out
    rng = rng_of("easy", split, number)
    for _ in range(_ATTEMPTS):
        scene = _attempt(rng, split, f"easy-{split}/{number}")
        if scene is not None and (novel or not held_out(scene)):
            return scene
    raise RuntimeError(f"no easy scene for {split}/{number} in {_ATTEMPTS} attempts: the catalog leaves no choice")


@functools.cache
def easy_types(place: str) -> tuple[ObjectType, ...]:
    """The easy types that may appear in a place."""
    catalog = load_catalog()
    return tuple(catalog.types[name] for name in EASY_TYPES if fits(catalog.types[name], catalog.places[place]))


@functools.cache
def _places(name: str) -> tuple[Place, ...]:
    catalog = load_catalog()
    return tuple(place for _, place in sorted(catalog.places.items()) if fits(catalog.types[name], place))


def _part(rng: random.Random, kind: ObjectType) -> CastMember:
    return CastMember(draw_look(rng, kind), draw_scale(rng), pick(rng, kind.poses))


def _cast(rng: random.Random, first: ObjectType, place: Place) -> list[CastMember]:
    roll = rng.random()
    wanted = next(count for bound, count in _COUNTS if roll < bound)
    cast = [_part(rng, first)]
    if rng.random() < _ALIKE and first.size < 0.5:
        copies = 1 if rng.random() < 0.65 else 2
        looks = [dataclasses.replace(cast[0].look, seed=rng.getrandbits(24)) for _ in range(copies)]
        cast += [dataclasses.replace(cast[0], look=look) for look in looks]
        wanted = max(wanted, len(cast))
    kinds = easy_types(place.name)
    for _ in range(3 * wanted):
        if len(cast) == wanted:
            break
        kind = pick(rng, kinds)
        if all(kind.name != other.look.type and not confusable(kind.name, other.look.type) for other in cast):
            cast.append(_part(rng, kind))
    if len(cast) > 1 and cast[1].look.type != first.name:
        second = load_catalog().types[cast[1].look.type]
        poses = [pose for pose in first.poses if possible(pose, first, second)]
        if poses and rng.random() < _ACTS:
            cast[0] = dataclasses.replace(cast[0], pose=pick(rng, poses), target=1)
    return cast


def _attempt(rng: random.Random, split: str, scene_id: str) -> Scene | None:
    first = load_catalog().types[pick(rng, EASY_TYPES)]
    place = pick(rng, _places(first.name))
    light, view = draw_conditions(rng, place)
    objects = compose(rng, place, view, _cast(rng, first, place))
    if objects is None:
        return None
    scene = Scene(scene_id, place.name, objects, light=light, view=view, background=background_of(rng, split))
    boxes = [box(thing) for thing in objects]
    tiny = any(max(x1 - x0, y1 - y0) < _SMALLEST for x0, y0, x1, y1 in boxes)
    return None if tiny or len(seen(scene)) < len(objects) else scene


if __name__ == "__main__":
    print(to_json(easy_scene(sys.argv[1], int(sys.argv[2]))))
