"""Looks of objects, and the named individuals whose looks are the same in every scene."""

from __future__ import annotations

import dataclasses
import functools
import random

from scenes.world.actions import acts
from scenes.world.catalog import ObjectType, load_catalog
from scenes.world.scene import SceneObject
from scenes.world.seeded_random import between, rng_of, seed_of

PER_TYPE = 2  # named individuals a type
PEOPLE = ("person", "people")
LIVING = ("animal", *PEOPLE, "creature")
# The fields of a SceneObject that belong to the individual; the others are its action and position.
LOOK = (
    "type", "entity", "hue", "saturation", "lightness", "roundness", "elongation", "part_scale", "roughness", "gloss",
    "seed",
)  # fmt: skip

_NAMES = """
Biscuit Pepper Juniper Rufus Hazel Bruno Clover Otis Willow Felix Maple Oscar Basil Rosie Archie Jasper Luna Milo
Daisy Hugo Penny Gus Ruby Theo Ivy Leo Nala Finn Stella Max Cleo Arlo Mabel Rocky Pearl Ziggy Coco Duke Honey Lola
Nova Opal Pippin Quinn Remy Sage Toby Una Wally Xena Yuki Zelda Boris Dotty Elmo Flora Gizmo Heidi Iggy Jonah Kit
Misty Nemo Ollie Quincy Rolo Tilly Ursa Velma Winnie Zora Alma Benno Carmen Dario Edith Fabian Greta Hector Irma
Jorge Karin Lionel Marta Nils Olga Pablo Rita Sven Tamar Ugo Vera Walter Yara Zeno Agnes Bertie Cosmo Delia Emil
Fritz Gilda Horace Ines Jules Kasper Lotte Magnus Nina Orson Petra Ramon Selma Timo Ulla Viktor Wanda Yann Zita
Bramble Comet Dumpling Echo Hopper Inky Jellybean Kipper Lucky Marble Noodle Oreo Quill Raisin Sprout Zephyr Alder
Crumpet Dusty Freckle Gadget Hobnob Kernel Nugget Scout Thistle Twig Vesper Whisker Yarrow Zigzag Domino Everest
Harbor Jade Kodiak Mossy Nettle Onyx Pebble Quartz Rusty Shadow Tango Upton Vixen Wren Yodel Zinnia Bonnie Chester
Dexter Ellie Frankie Gracie Harvey Izzy Jojo Kira Lexi Mikko Nora Otto Percy Quigley Rex Sasha Tucker Ursula Vito
Wilma Xander Yolanda Zach Ava Boone Callie Darcy Emmy Floyd Gala Hank Ida Joss Kaya Lars Mina Ned Oona Perry Queenie
Roscoe Sunny Tess Ulric Vesna Wendell Yves Zelig Anouk Bashir Chiara Dmitri Esme Farid Gita Hiro Imani Jamal Keiko
Leila Mateo Noor Omar Priya Rafa Sana Tariq Uma Vijay Wen Yusuf Zainab
""".split()  # noqa: SIM905


@dataclasses.dataclass(frozen=True)
class Entity:
    """A named individual: its type and everything that is the same in every scene."""

    name: str
    type: str
    look: SceneObject  # only the fields of LOOK count
    scale: float  # size relative to the usual one of the type


def draw_color(rng: random.Random, kind: ObjectType) -> tuple[float, float, float]:
    """A colour natural for the type, as hue, saturation and lightness. A hue range may run past 1, round the circle."""
    hue = between(rng, *kind.hue) % 1.0
    return round(hue, 3), between(rng, *kind.saturation), between(rng, *kind.lightness)


def _extreme(rng: random.Random, share: float) -> float:
    """An attribute that is neutral at 0.5: near 0.5, or with probability `share` near 0 or 1."""
    if rng.random() < share:
        return between(rng, 0.78, 1.0) if rng.random() < 0.5 else between(rng, 0.0, 0.22)
    return between(rng, 0.35, 0.65)


def _surface(rng: random.Random, share: float) -> float:
    """An attribute that is neutral at 0: low, or with probability `share` high."""
    return between(rng, 0.6, 1.0) if rng.random() < share else between(rng, 0.0, 0.25)


def draw_look(rng: random.Random, kind: ObjectType, entity: str | None = None) -> SceneObject:
    """A new look of a type. Living things seldom have extreme shapes or surfaces."""
    living, human = kind.path[0] in LIVING, kind.path[0] in PEOPLE
    hue, saturation, lightness = draw_color(rng, kind)
    return SceneObject(
        type=kind.name,
        x=0.5,
        y=0.9,
        size=1.0,
        entity=entity,
        hue=hue,
        saturation=saturation,
        lightness=lightness,
        roundness=_extreme(rng, (0.06 if living else 0.2) if kind.shape_words else 0.0),
        elongation=_extreme(rng, (0.06 if living else 0.2) if kind.shape_words else 0.0),
        part_scale=_extreme(rng, 0.2 if kind.part else 0.0),
        roughness=_surface(rng, 0.0 if human else 0.05 if living else 0.15),
        gloss=_surface(rng, 0.0 if human else 0.04 if living else 0.18),
        seed=rng.getrandbits(24),
    )


def draw_scale(rng: random.Random) -> float:
    """A size relative to the usual one: mostly near 1, sometimes clearly small or big."""
    roll = rng.random()
    if roll < 0.14:
        return between(rng, 0.68, 0.79)
    return between(rng, 1.26, 1.42) if roll > 0.86 else between(rng, 0.9, 1.14)


def named(kind: ObjectType) -> bool:
    """Whether the type has named individuals: living types that act."""
    return kind.path[0] in LIVING and acts(kind)


@functools.lru_cache(maxsize=1)
def individuals() -> dict[str, Entity]:
    """All named individuals by name; they depend only on the catalog's types."""
    taken = {word for kind in load_catalog().types.values() for word in (kind.name, *kind.synonyms)}
    free = sorted(name for name in set(_NAMES) if name.lower() not in taken)
    found: dict[str, Entity] = {}
    for name in sorted(load_catalog().types):
        kind = load_catalog().types[name]
        if not named(kind):
            continue
        for number in range(PER_TYPE):
            rng = rng_of("entity", name, number)
            # Without a free name, the individual is called by its type and a number.
            given = free.pop(seed_of("name", name, number) % len(free)) if free else f"{name.title()} {number + 1}"
            found[given] = Entity(given, name, draw_look(rng, kind, given), draw_scale(rng))
    return found


@functools.lru_cache(maxsize=1)
def individuals_by_type() -> dict[str, tuple[Entity, ...]]:
    """The named individuals of each type that has any."""
    found: dict[str, list[Entity]] = {}
    for entity in individuals().values():
        found.setdefault(entity.type, []).append(entity)
    return {name: tuple(some) for name, some in found.items()}
