"""Scene number n of a split: the same scene in every process and on every machine.

Types follow the split's frequencies, places suit the types, and scenes with held-out compositions are drawn again
unless the split is the one that keeps them. No two splits can share a scene: a background's seed carries its split.
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
from scenes.world.compose import Part, compose, draw_conditions, fits
from scenes.world.entities import draw_color, draw_look, draw_scale, individuals_by_type
from scenes.world.facts import confusable
from scenes.world.scene import Background, Scene, to_json
from scenes.world.seeded_random import between, pick, rng_of
from scenes.world.splits import SPLITS, STORY_LENGTH, Split, frequencies, held_out
from scenes.world.story import story

# How many objects a scene is meant to have; a few lose one that finds no room.
_COUNTS = ((0.30, 1), (0.68, 2), (0.91, 3), (1.0, 4))
_GROUP = 0.18  # share of scenes in which the first type appears two, three or four times
_ACTS = 0.6  # share of possible directed actions that are taken
_ATTEMPTS = 400  # far more than is ever needed: a held-out scene takes 9 on average


@functools.cache
def _table(split: str, place: str | None) -> tuple[list[float], list[str]]:
    """Cumulative frequencies of the types of a split (that fit a place), for drawing by bisection."""
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


def _draw_part(rng: random.Random, kind: ObjectType, rule: Split) -> Part:
    pose = pick(rng, kind.poses) if kind.poses else "standing"
    known = individuals_by_type().get(kind.name)
    if known and rng.random() < rule.entities:
        entity = pick(rng, known)
        return Part(entity.look, entity.scale, pose)
    return Part(draw_look(rng, kind), draw_scale(rng), pose)


def _more_of(rng: random.Random, part: Part, kind: ObjectType, alike: bool) -> Part:
    """Another one of the same type: of about the same look, or of its own colour."""
    look = dataclasses.replace(part.look, seed=rng.getrandbits(24), entity=None)
    if not alike:
        hue, saturation, lightness = draw_color(rng, kind)
        look = dataclasses.replace(look, hue=hue, saturation=saturation, lightness=lightness)
    return Part(look, round(part.scale * between(rng, 0.96, 1.04), 3), part.pose)


def _cast(rng: random.Random, rule: Split, place: Place, first: ObjectType) -> list[Part]:
    types = load_catalog().types
    cast = [_draw_part(rng, first, rule)]
    roll = rng.random()
    wanted = next(count for bound, count in _COUNTS if roll < bound)
    if rng.random() < _GROUP and first.size < 0.5:
        alike = rng.random() < 0.7
        copies = 2 if (roll := rng.random()) < 0.6 else 3 if roll < 0.87 else 4
        cast += [_more_of(rng, cast[0], first, alike) for _ in range(copies - 1)]
        wanted = min(4, len(cast) + (rng.random() < 0.35))
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
    """A background whose seed carries the split in its last digit, so that no two splits can share a scene."""
    return Background(seed=rng.getrandbits(28) * 10 + list(SPLITS).index(split), tint=between(rng, -1.0, 1.0))


def sample(split: str, number: int) -> Scene:
    """Scene `number` of a split; its id is "<split>/<number>". Raises KeyError for an unknown split."""
    rule = SPLITS[split]
    told = number // STORY_LENGTH
    if rule.stories and rng_of("story?", split, told).random() < rule.stories:
        scene = _told(rule, told, number % STORY_LENGTH)
        return dataclasses.replace(scene, id=f"{split}/{number}")
    rng = rng_of(split, number)
    wants_held_out = rule.held_out and number % 2 == 0
    for _ in range(_ATTEMPTS):
        scene_or_none = _attempt(rng, rule, f"{split}/{number}")
        if scene_or_none is not None and bool(held_out(scene_or_none)) == wants_held_out:
            return scene_or_none
    raise RuntimeError(f"no scene for {split}/{number} in {_ATTEMPTS} attempts: the catalog leaves no choice")


@functools.lru_cache(maxsize=4)
def _story_scenes(split: str, told: int) -> tuple[Scene, ...]:
    for attempt in range(_ATTEMPTS):
        scenes = [telling.scene for telling in story(STORY_LENGTH, (split, told, attempt))]
        if not any(held_out(scene) for scene in scenes) and all(_allowed(scene, split) for scene in scenes):
            return tuple(
                dataclasses.replace(
                    scene, story=f"{split}/story-{told}", background=background_of(rng_of(split, told, step), split)
                )
                for step, scene in enumerate(scenes)
            )
    raise RuntimeError(f"no story {told} for {split} in {_ATTEMPTS} attempts: the catalog leaves no choice")


def _allowed(scene: Scene, split: str) -> bool:
    shares = frequencies(split)
    return all(shares[thing.type] > 0 for thing in scene.objects)


def _told(rule: Split, told: int, step: int) -> Scene:
    return _story_scenes(rule.name, told)[step]


def scenes(split: str, start: int = 0, stop: int | None = None) -> Iterator[Scene]:
    """The scenes of a split from number `start` up to, not including, `stop` (the split's size)."""
    for number in range(start, SPLITS[split].size if stop is None else stop):
        yield sample(split, number)


if __name__ == "__main__":
    print(to_json(sample(sys.argv[1], int(sys.argv[2]))))
