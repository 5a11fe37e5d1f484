"""Stories: ordered scenes with the same named individuals, and a true sentence about each scene."""

from __future__ import annotations

import dataclasses
import random

from scenes.world import words
from scenes.world.actions import verb_of
from scenes.world.catalog import load_catalog
from scenes.world.compose import compose, draw_conditions
from scenes.world.entities import Entity, individuals
from scenes.world.facts import Fact, confusable
from scenes.world.geometry import seen
from scenes.world.scene import Background, Scene
from scenes.world.seeded_random import pick, rng_of
from scenes.world.vary import cast_member, meeting_places, other_pose, random_member, with_action

_OPENERS = ("One day", "Then", "Later", "After that", "A little later", "In the end")
_LIGHT = {"day": "in the daylight", "dusk": "at dusk", "night": "at night", "overcast": "under a gray sky"}
_ATTEMPTS = 80


@dataclasses.dataclass(frozen=True)
class StoryStep:
    """A scene of a story with its sentence and the facts that the sentence states."""

    scene: Scene
    sentence: str
    facts: tuple[Fact, ...]


def story(n: int, seed: object, story_id: str | None = None) -> tuple[StoryStep, ...]:
    """`n` ordered scenes with one or two named individuals, who appear in all of them; ids are "<story>/<step>".

    Raises ValueError when no type of the catalog has named individuals.
    """
    rng = rng_of("story", seed)
    name = story_id or f"story-{rng.getrandbits(32):08x}"
    named = [individuals()[key] for key in sorted(individuals())]
    if not named:
        raise ValueError("the catalog has no living type with several poses, so there are no named individuals")
    heroes = _heroes(rng, named)
    steps: list[StoryStep] = []
    place_before: str | None = None
    for step in range(n):
        scene = _scene(rng, heroes, place_before, f"{name}/{step}", name, step)
        sentence, facts = sentence_of(scene, step, n)
        steps.append(StoryStep(scene, sentence, facts))
        place_before = scene.place
    return tuple(steps)


def _heroes(rng: random.Random, named: list[Entity]) -> list[Entity]:
    catalog = load_catalog()
    first = pick(rng, named)
    if rng.random() < 0.3:
        return [first]
    for _ in range(20):  # until both types share all places of the first
        second = pick(rng, named)
        kinds = [catalog.types[first.type], catalog.types[second.type]]
        different = second.type != first.type and not confusable(first.type, second.type)
        if different and meeting_places(catalog, kinds) == meeting_places(catalog, kinds[:1]):
            return [first, second]
    return [first]


def _scene(rng: random.Random, heroes: list[Entity], before: str | None, scene_id: str, name: str, step: int) -> Scene:
    catalog = load_catalog()
    kinds = [catalog.types[hero.type] for hero in heroes]
    places = meeting_places(catalog, kinds)
    for _ in range(_ATTEMPTS):
        others = [place for place in places if place.name != before]
        # In 30% of the draws the place of the step before may be drawn again.
        place = pick(rng, others if others and rng.random() < 0.7 else places)
        light, view = draw_conditions(rng, place)
        cast = [cast_member(hero, other_pose(rng, kind, None)) for hero, kind in zip(heroes, kinds, strict=True)]
        if len(cast) == 1 or rng.random() < 0.3:
            cast.append(random_member(rng, catalog, place, {kind.name for kind in kinds}))
        objects = compose(rng, place, view, with_action(rng, catalog, cast))
        if objects is None:
            continue
        if [thing.entity for thing in objects[: len(heroes)]] == [hero.name for hero in heroes]:
            background = Background(rng.getrandbits(28) * 10 + 8, 0.0)
            return Scene(scene_id, place.name, objects, light, view, background, story=name, step=step)
    raise ValueError(f"{' and '.join(hero.name for hero in heroes)} found no room together")


def sentence_of(scene: Scene, step: int, n: int) -> tuple[str, tuple[Fact, ...]]:
    """The sentence of a story's scene and the facts it states; step 0 also names the type of each individual."""
    catalog = load_catalog()
    visible = seen(scene)
    facts: list[Fact] = []

    def call(i: int) -> str:
        thing = scene.objects[i]
        facts.append(("object", i, thing.type))
        if thing.entity is None:
            return words.indefinite(thing.type)
        facts.append(("entity", i, thing.entity))
        return f"{thing.entity} the {thing.type}" if step == 0 else thing.entity

    heroes = [i for i in visible if scene.objects[i].entity is not None]
    place = catalog.places[scene.place].phrase
    opener = _OPENERS[0] if step == 0 else _OPENERS[-1] if step == n - 1 else _OPENERS[1 + (step - 1) % 4]
    actor = next((i for i in heroes if scene.objects[i].target in visible), None)
    if actor is not None:
        thing = scene.objects[actor]
        verb = verb_of(thing)
        assert thing.target is not None
        text = f"{call(actor)} was {verb} {call(thing.target)} {place}"
        facts.append(("action", actor, verb, thing.target))
    else:
        poses = [scene.objects[i].pose for i in heroes]
        if len(set(poses)) == 1:
            names = words.listed([call(i) for i in heroes])
            text = f"{names} {'was' if len(heroes) == 1 else 'were'} {poses[0]} {place}"
        else:
            each = [f"{call(i)} was {pose}" for i, pose in zip(heroes, poses, strict=True)]
            text = f"{' while '.join(each)} {place}"
        facts += [("pose", i, pose) for i, pose in zip(heroes, poses, strict=True)]
    facts.append(("place", scene.place))
    if scene.light != "day" and not catalog.places[scene.place].indoor:
        text += f" {_LIGHT[scene.light]}"
        facts.append(("light", scene.light))
    return words.sentence(f"{opener}, {text}"), tuple(facts)
