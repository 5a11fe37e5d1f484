"""Samples scene number n of a split: the same scene in every process and on every machine.

Types are drawn by the split's frequencies and places by the types. A scene with a held-out composition is drawn again,
except in the split that has them. No two splits can share a scene, since the seed of a background encodes its split.
Run as: python -m scenes.world.sample corpus 7     (prints the scene's JSON)
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import random
import sys
from collections.abc import Iterator
from itertools import accumulate

from scenes.world.actions import possible
from scenes.world.catalog import ObjectType, Place, load_catalog
from scenes.world.compose import CastMember, compose, draw_conditions, fits
from scenes.world.entities import draw_color, draw_look, draw_scale, individuals_by_type
from scenes.world.facts import confusable
from scenes.world.scene import Background, Scene, to_json
from scenes.world.seeded_random import between, pick, rng_of
from scenes.world.splits import SPLITS, STORY_LENGTH, Split, frequencies, held_out
from scenes.world.story import story

# (cumulative probability, number of objects) of a scene; some scenes get fewer, when an object has no room.
_COUNTS = ((0.30, 1), (0.68, 2), (0.91, 3), (1.0, 4))
_GROUP = 0.18  # share of scenes in which the first type appears two, three or four times
_ACTS = 0.6  # share of possible directed actions that happen
_ATTEMPTS = 400  # a scene with a held-out composition takes 9 attempts on average


@functools.cache
def _table(split: str, place: str | None) -> tuple[list[float], list[str]]:
    """Cumulative frequencies and names of a split's types, or of those that fit a place, for drawing by bisection."""
    catalog = load_catalog()
    shares = {
        name: share
        for name, share in sorted(frequencies(split).items())
        if share > 0 and (place is None or fits(catalog.types[name], catalog.places[place])) and _places(name)
    }
    return list(accumulate(shares.values())), list(shares)


@functools.cache
def _places(name: str) -> tuple[Place, ...]:
    """The places where a type may appear."""
    catalog = load_catalog()
    return tuple(place for _, place in sorted(catalog.places.items()) if fits(catalog.types[name], place))


def _draw_type(rng: random.Random, split: str, place: str | None) -> ObjectType:
    totals, names = _table(split, place)
    return load_catalog().types[names[min(bisect.bisect(totals, rng.random() * totals[-1]), len(names) - 1)]]


def _draw_part(rng: random.Random, kind: ObjectType, rule: Split) -> CastMember:
    pose = pick(rng, kind.poses) if kind.poses else "standing"
    known = individuals_by_type().get(kind.name)
    if known and rng.random() < rule.entities:
        entity = pick(rng, known)
        return CastMember(entity.look, entity.scale, pose)
    return CastMember(draw_look(rng, kind), draw_scale(rng), pose)


def _more_of(rng: random.Random, part: CastMember, kind: ObjectType, alike: bool) -> CastMember:
    """Another object of the same type and look; unless `alike`, with another colour."""
    look = dataclasses.replace(part.look, seed=rng.getrandbits(24), entity=None)
    if not alike:
        hue, saturation, lightness = draw_color(rng, kind)
        look = dataclasses.replace(look, hue=hue, saturation=saturation, lightness=lightness)
    return CastMember(look, round(part.scale * between(rng, 0.96, 1.04), 3), part.pose)


def _cast(rng: random.Random, rule: Split, place: Place, first: ObjectType) -> list[CastMember]:
    types = load_catalog().types
    cast = [_draw_part(rng, first, rule)]
    roll = rng.random()
    wanted = next(count for bound, count in _COUNTS if roll < bound)
    if rng.random() < _GROUP and first.size < 0.5:
        alike = rng.random() < 0.7
        copies = 2 if (roll := rng.random()) < 0.6 else 3 if roll < 0.87 else 4
        cast += [_more_of(rng, cast[0], first, alike) for _ in range(copies - 1)]
        wanted = min(4, len(cast) + (rng.random() < 0.35))
    cast, wanted = cast[: rule.crowd], min(wanted, rule.crowd)
    while len(cast) < wanted:
        kind = _draw_type(rng, rule.name, place.name)
        part = _draw_part(rng, kind, rule)
        if any(confusable(kind.name, other.look.type) for other in cast):
            continue
        if part.look.entity is None or all(part.look.entity != other.look.entity for other in cast):
            cast.append(part)
    if len(cast) > 1 and cast[1].look.type != first.name:
        poses = [pose for pose in first.poses if possible(pose, first, types[cast[1].look.type])]
        if poses and rng.random() < _ACTS:
            cast[0] = dataclasses.replace(cast[0], pose=pick(rng, poses), target=1)
    return cast


def _attempt(rng: random.Random, rule: Split, scene_id: str) -> Scene | None:
    first = _draw_type(rng, rule.name, None)
    place = pick(rng, _places(first.name))
    light, view = draw_conditions(rng, place)
    objects = compose(rng, place, view, _cast(rng, rule, place, first))
    if objects is None:
        return None
    background = background_of(rng, rule.name)
    return Scene(scene_id, place.name, objects, light=light, view=view, background=background)


def background_of(rng: random.Random, split: str) -> Background:
    """A random background whose seed has the split's number as its last digit, so that no two splits share a scene."""
    return Background(seed=rng.getrandbits(28) * 10 + list(SPLITS).index(split), tint=between(rng, -1.0, 1.0))


def sample(split: str, number: int) -> Scene:
    """Scene `number` of a split, with the id "<split>/<number>". Raises KeyError for an unknown split."""
    rule = SPLITS[split]
    story_number, step = divmod(number, STORY_LENGTH)
    if rule.stories and rng_of("story?", split, story_number).random() < rule.stories:
        return dataclasses.replace(_story_scenes(split, story_number)[step], id=f"{split}/{number}")
    rng = rng_of(split, number)
    wants_held_out = rule.held_out and number % 2 == 0
    for _ in range(_ATTEMPTS):
        scene_or_none = _attempt(rng, rule, f"{split}/{number}")
        if scene_or_none is not None and bool(held_out(scene_or_none)) == wants_held_out:
            return scene_or_none
    raise RuntimeError(f"no scene for {split}/{number} in {_ATTEMPTS} attempts: the catalog leaves no choice")


@functools.lru_cache(maxsize=4)
def _story_scenes(split: str, number: int) -> tuple[Scene, ...]:
    for attempt in range(_ATTEMPTS):
        scenes = [step.scene for step in story(STORY_LENGTH, (split, number, attempt))]
        if not any(held_out(scene) for scene in scenes) and all(_allowed(scene, split) for scene in scenes):
            return tuple(
                dataclasses.replace(
                    scene, story=f"{split}/story-{number}", background=background_of(rng_of(split, number, step), split)
                )
                for step, scene in enumerate(scenes)
            )
    raise RuntimeError(f"no story {number} for {split} in {_ATTEMPTS} attempts: the catalog leaves no choice")


def _allowed(scene: Scene, split: str) -> bool:
    shares = frequencies(split)
    return all(shares[thing.type] > 0 for thing in scene.objects)


def scenes(split: str, start: int = 0, stop: int | None = None) -> Iterator[Scene]:
    """The scenes of a split from number `start` up to, not including, `stop` (the split's size)."""
    for number in range(start, SPLITS[split].size if stop is None else stop):
        yield sample(split, number)


if __name__ == "__main__":
    print(to_json(sample(sys.argv[1], int(sys.argv[2]))))
