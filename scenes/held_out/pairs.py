"""Pairs of held-out scenes for the benchmarks: different scenes that are alike, and scenes with one change.

All come from the test split of the easy world, which no training split shares a scene with. Every caption is true of
its image and surely false of the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from scenes.comparing.compare import compare
from scenes.comparing.edit import edit
from scenes.held_out.claims import Claim, Thing, color_of, thing_of
from scenes.world.actions import acts, is_activity, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.geometry import relations, seen
from scenes.world.scene import Scene, SceneObject
from scenes.world.seeded_random import pick, rng_of, shuffled

__all__ = [
    "EDITS", "SPLIT", "Claimed", "alike", "captioned", "changed", "edited", "exchanged_colors", "one_change",
    "triplets",
]  # fmt: skip

SPLIT = "test"
# Changes that are seen at a glance in a small image.
EDITS = ("type", "hue", "count", "pose", "position", "place", "light")
_WINDOW = 60  # scenes that are searched for one that is alike
_ATTEMPTS = 12


class Claimed(NamedTuple):
    """Two scenes and a caption of each; the second caption is None where only the first scene has one.

    category: what differs, in the words of the benchmark that the pair is for.
    """

    first: Scene
    second: Scene
    caption: Claim
    other: Claim | None = None
    category: str | None = None


def alike(first: int = 0) -> Iterator[tuple[Scene, Scene]]:
    """Yield pairs of different scenes that share a type or the place, from scene number `first` on; each scene once."""
    number = first
    waiting: list[Scene] = []
    while True:
        scene = easy_scene(SPLIT, number)
        number += 1
        found = next((other for other in waiting if _shares(scene, other)), None)
        if found is None:
            waiting = [*waiting[-_WINDOW:], scene]
        else:
            waiting.remove(found)
            yield found, scene


def captioned(first: int = 0) -> Iterator[Claimed]:
    """Yield pairs that are alike with a caption of the first scene, as BISON has them: "a red car on a street"."""
    for one, other in alike(first):
        rng = rng_of("captioned", one.id, other.id)
        for i in shuffled(rng, seen(one)):
            claim = Claim((thing_of(one.objects[i]),), place=one.place if rng.random() < 0.7 else None)
            if claim.holds(one) and claim.excluded(other):
                yield Claimed(one, other, claim)
                break


def triplets(count: int, first: int = 0, scenes: int | None = None) -> dict[str, list[Claimed]]:
    """Pairs that differ in the subject, the verb or the object of one sentence, as SVO-Probes has them, by which.

    count: most pairs of each. scenes: how many are searched (default: enough for `count`). The scene of a caption is
    that of no other.
    """
    # Of 3,000 scenes the rarest kind, verbs, has 78 pairs.
    scenes = scenes or max(700, 60 * count)
    known: list[tuple[tuple[str, str, str], Scene]] = []
    for number in range(first, first + scenes):
        scene = easy_scene(SPLIT, number)
        known += [(said, scene) for i in seen(scene) if (said := _triplet(scene, i)) is not None]
    found: dict[str, list[Claimed]] = {"subject": [], "verb": [], "object": []}
    used: set[str] = set()
    for place, name in ((1, "verb"), (2, "object"), (0, "subject")):  # the rarest first
        same: dict[tuple[str, ...], list[tuple[str, Scene]]] = {}
        for triplet, scene in known:
            same.setdefault(_without(triplet, place), []).append((triplet[place], scene))
        for triplet, scene in known:
            if len(found[name]) == count:
                break
            claim = Claim((Thing(triplet[0]), Thing(triplet[2])), verb=triplet[1])
            others = [other for word, other in same[_without(triplet, place)] if word != triplet[place]]
            if scene.id in used or not others or not claim.holds(scene):
                continue
            other = next((other for other in others if claim.excluded(other)), None)
            if other is not None:
                used.add(scene.id)
                found[name].append(Claimed(scene, other, claim, None, name))
    return found


def _without(triplet: tuple[str, str, str], place: int) -> tuple[str, ...]:
    return (*triplet[:place], "*", *triplet[place + 1 :])


def edited(first: int = 0) -> Iterator[tuple[Scene, Scene]]:
    """Yield a scene and the same with one to three changes, or the other way round."""
    number = first
    while True:
        scene = easy_scene(SPLIT, number)
        rng = rng_of("held-out edit", scene.id)
        now = scene
        for axis in shuffled(rng, EDITS)[: pick(rng, (1, 1, 2, 3))]:
            now = changed(now, axis) or now
        if now is not scene:
            yield (scene, now) if rng.random() < 0.5 else (now, scene)
        number += 1


def changed(scene: Scene, axis: str) -> Scene | None:
    """The scene with one change along an axis of EDITS that leaves only easy types; None where there is none."""
    for attempt in range(_ATTEMPTS):
        try:
            found = edit(scene, axis, seed=f"held-out/{attempt}")
        except ValueError:
            return None
        if all(thing.type in EASY_TYPES for thing in found.objects):
            return found
    return None


def one_change(first: int = 0) -> Iterator[Claimed]:
    """Yield a scene and its edit with a caption of each, as EQBEN has them; category: the axis of CaD-VI."""
    number = first
    while True:
        scene = easy_scene(SPLIT, number)
        axis = EDITS[number % len(EDITS)]
        number += 1
        now = changed(scene, axis)
        if now is None:
            continue
        differences = [each for each in compare(scene, now).differences if each.change == axis]
        for difference in differences[:1]:
            claims = _both(scene, now, axis, difference.a, difference.b)
            if claims is not None and _told_apart(scene, now, *claims):
                yield Claimed(scene, now, *claims, difference.axis)


def exchanged_colors(first: int = 0) -> Iterator[Claimed]:
    """Yield a scene with two things, and the same with their colours exchanged, as COLA's composed attributes."""
    number = first
    while True:
        scene = easy_scene(SPLIT, number)
        number += 1
        rng = rng_of("exchanged", scene.id)
        pairs = [(i, j) for i in seen(scene) for j in seen(scene) if i != j]
        for i, j in shuffled(rng, pairs):
            one, other = scene.objects[i], scene.objects[j]
            held = relations(scene, i, j)
            if one.type == other.type or color_of(one) == color_of(other) or not held:
                continue
            things = list(scene.objects)
            things[i], things[j] = _colored(one, other), _colored(other, one)
            now = dataclasses.replace(scene, id=f"{scene.id}~exchanged", objects=tuple(things))
            relation = pick(rng, held)
            claims = [
                Claim((thing_of(each.objects[i]), thing_of(each.objects[j])), relation=relation)
                for each in (scene, now)
            ]
            if all(thing.color for claim in claims for thing in claim.things) and _told_apart(scene, now, *claims):
                yield Claimed(scene, now, claims[0], claims[1])
                break


def _shares(one: Scene, other: Scene) -> bool:
    return one.place == other.place or bool({thing.type for thing in one.objects} & {t.type for t in other.objects})


def _triplet(scene: Scene, i: int) -> tuple[str, str, str] | None:
    thing = scene.objects[i]
    verb = verb_of(thing)
    if verb is None or thing.target is None:
        return None
    return thing.type, verb, scene.objects[thing.target].type


def _told_apart(first: Scene, second: Scene, one: Claim, other: Claim) -> bool:
    return one.holds(first) and one.excluded(second) and other.holds(second) and other.excluded(first)


def _both(a: Scene, b: Scene, axis: str, i: int | None, j: int | None) -> tuple[Claim, Claim] | None:
    """A caption of each scene that names what changed along the axis."""
    if axis in ("place", "light"):
        claims = []
        for scene in (a, b):
            thing = thing_of(scene.objects[seen(scene)[0]])
            claims.append(Claim((thing,), place=scene.place, light=scene.light if axis == "light" else None))
        return claims[0], claims[1]
    if axis == "count":
        return _counted(a, b)
    if i is None or j is None:
        return None
    one, other = a.objects[i], b.objects[j]
    if axis == "position":
        for k in seen(a):
            held, new = (relations(a, i, k), relations(b, j, k)) if k != i and k < len(b.objects) else ([], [])
            gone, came = [name for name in held if name not in new], [name for name in new if name not in held]
            if gone and came:
                things = (thing_of(one), thing_of(a.objects[k]))
                return Claim(things, relation=gone[0]), Claim(things, relation=came[0])
        return None
    pose = axis == "pose"
    if pose and not (acts(load_catalog().types[one.type]) and is_activity(one.pose) and is_activity(other.pose)):
        return None
    first, second = (Claim((thing_of(thing, pose=pose),), place=a.place) for thing in (one, other))
    return first, second


def _counted(a: Scene, b: Scene) -> tuple[Claim, Claim] | None:
    for name in sorted({thing.type for thing in (*a.objects, *b.objects)}):
        numbers = [sum(thing.type == name for thing in scene.objects) for scene in (a, b)]
        if numbers[0] != numbers[1] and all(numbers) and not shown_by_background(a.place, name):
            one, other = (Claim((Thing(name),), number=number, place=a.place) for number in numbers)
            return one, other
    return None


def _colored(thing: SceneObject, like: SceneObject) -> SceneObject:
    return dataclasses.replace(thing, hue=like.hue, saturation=like.saturation, lightness=like.lightness, entity=None)
