"""The named splits: their sizes, how often each concept occurs in them, and the compositions held out for the test.

Concepts are in groups, the conditions of experiments. `rare` concepts are rare in pretraining and common in the corpus,
so customizing can improve them. `absent` concepts are rare in pretraining and never in the corpus or the pool, so it
cannot. `made_up` concepts have invented names that only captions teach. The members of a group are the names of a list,
filled up in the order of a hash.

The `web_` splits are of another experiment, `benchmarks.react_gain`. Its base CLIP was trained on alt text alone. The
domain concepts are some of the medium ones: `web_pretrain` shows each about a hundred times, and `web_pool` each five
times as often.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib

from scenes.world.catalog import load_catalog
from scenes.world.scene import Scene
from scenes.world.words import color_word

GROUPS = ("frequent", "medium", "rare", "absent", "made_up")
RARE, ABSENT, FREQUENT = 20, 8, 36  # types of the group
DOMAIN = 100  # types; the group medium shrinks with the catalog, and they with it
_FREQUENT = """
dog cat man woman boy girl person child car tree chair table ball bird horse cow house boat bicycle bus cup bottle
apple flower lamp book hat guitar truck train sofa bed plate umbrella duck fish sheep airplane bag shoe
""".split()  # noqa: SIM905
_RARE = """
penguin flamingo hedgehog accordion saxophone tractor cactus gramophone octopus peacock kangaroo koala seahorse harp
banjo gondola windmill lighthouse pineapple artichoke igloo bonsai sombrero kimono telescope anvil wheelbarrow
""".split()  # noqa: SIM905
_ABSENT = """
submarine metronome walrus zeppelin scorpion swordfish biplane typewriter microscope sextant
""".split()  # noqa: SIM905
ZIPF_OFFSET = 6  # the r-th frequent or medium type has weight 1 / (r + offset): head 5%, tail 0.1%


@dataclasses.dataclass(frozen=True)
class Split:
    """A named set of scenes. Scene `number` of it is `sample.sample(name, number)`."""

    name: str
    size: int  # scenes by default; higher numbers are valid too
    purpose: str
    shares: dict[str, float]  # special group: its share of all drawn objects; other types follow Zipf's law
    flat: bool = False  # whether frequent and medium types are equally frequent
    held_out: bool = False  # whether half of the scenes show a held-out composition; other splits show none
    entities: float = 0.15  # share of named individuals among objects of types that have any
    stories: float = 0.0  # share of scenes that belong to stories
    domain: float | None = None  # share of the domain types, which are then left out of the others; None: as the others
    crowd: int = 4  # most objects of a scene


SPLITS: dict[str, Split] = {
    split.name: split
    for split in (
        # 20 rare and 8 absent types of 0.005% each: about ten occurrences of each in 100,000 scenes.
        Split("pretrain", 100_000, "the scenes the small CLIP was trained on", {
            "rare": 0.001, "absent": 0.0004, "made_up": 0.03
        }),
        Split("corpus", 20_000, "the demo corpus", {"rare": 0.13, "absent": 0.0, "made_up": 0.04}, stories=0.08),
        Split("pool", 200_000, "a larger corpus of the same kind", {"rare": 0.05, "absent": 0.0, "made_up": 0.03},
              stories=0.08),
        Split("language", 60_000, "what language models are trained on", {"rare": 0.05, "absent": 0.0, "made_up": 0.03},
              stories=0.15),
        Split("validation", 2_000, "choosing and early stopping", {"rare": 0.2, "absent": 0.08, "made_up": 0.08},
              flat=True),
        Split("test", 4_000, "what is reported", {"rare": 0.2, "absent": 0.1, "made_up": 0.08}, flat=True,
              held_out=True),
        # Scenes have 1.55 types on average, so a domain type is in 0.1% of web_pretrain's and 0.5% of web_pool's.
        Split("web_pretrain", 100_000, "what the CLIP of alt text alone was trained on", {
            "rare": 0.001, "absent": 0.0004, "made_up": 0.03
        }, domain=0.065, crowd=2),
        Split("web_pool", 200_000, "the corpus in which its domain concepts are common", {
            "rare": 0.05, "absent": 0.0, "made_up": 0.03
        }, domain=0.32, crowd=2),
        Split("web_validation", 4_000, "choosing its training", {"rare": 0.05, "absent": 0.02, "made_up": 0.03},
              flat=True, domain=0.6, crowd=2),
        Split("web_test", 10_000, "what is reported of it", {"rare": 0.05, "absent": 0.02, "made_up": 0.03},
              flat=True, domain=0.6, crowd=2),
    )
}  # fmt: skip
STORY_LENGTH = 4  # scenes of a story inside a split: numbers 4 b .. 4 b + 3


def _order(name: str) -> str:
    return hashlib.sha256(f"order:{name}".encode()).hexdigest()


def _choose(names: set[str], preferred: list[str], count: int) -> tuple[str, ...]:
    """`count` of the names: first the preferred ones, then others in the order of a hash."""
    known = [name for name in preferred if name in names]
    known += sorted(names - set(known), key=_order)
    return tuple(known[: min(count, len(names))])


@functools.lru_cache(maxsize=1)
def concept_groups() -> dict[str, tuple[str, ...]]:
    """The types of each of GROUPS, the most frequent first; every type of the catalog is in exactly one group."""
    types = load_catalog().types
    made_up = tuple(sorted(name for name, kind in types.items() if kind.made_up))
    free = set(types) - set(made_up)
    # With fewer than 200 types, all groups shrink in proportion.
    room = min(1.0, len(free) / 200)
    frequent = _choose(free - set(_RARE) - set(_ABSENT), _FREQUENT, round(FREQUENT * room))
    free -= set(frequent)
    rare = _choose(free - set(_ABSENT), _RARE, round(RARE * room))
    free -= set(rare)
    absent = _choose(free, _ABSENT, round(ABSENT * room))
    medium = tuple(sorted(free - set(absent), key=_order))
    return {"frequent": frequent, "medium": medium, "rare": rare, "absent": absent, "made_up": made_up}


@functools.lru_cache(maxsize=1)
def domain_concepts() -> tuple[str, ...]:
    """The types that the `web_` splits treat as the domain to customize for; all are of the group medium."""
    medium = concept_groups()["medium"]
    return tuple(sorted(sorted(medium, key=lambda name: _order(f"domain:{name}"))[: min(DOMAIN, len(medium) // 2)]))


@functools.cache
def group_of(name: str) -> str:
    """The concept group of a type."""
    return next(group for group, names in concept_groups().items() if name in names)


@functools.cache
def frequencies(split: str) -> dict[str, float]:
    """The probability that each type is drawn in a split; they sum to 1."""
    rule, groups = SPLITS[split], concept_groups()
    common = groups["frequent"] + groups["medium"]
    weights: dict[str, float] = {}
    if rule.domain is not None:
        weights = {name: rule.domain / len(domain_concepts()) for name in domain_concepts()}
        common = tuple(name for name in common if name not in weights)
    for group in ("rare", "absent", "made_up"):
        for name in groups[group]:
            weights[name] = rule.shares[group] / len(groups[group])
    rest = 1.0 - sum(weights.values())
    zipf = {name: 1.0 if rule.flat else 1.0 / (rank + ZIPF_OFFSET) for rank, name in enumerate(common)}
    total = sum(zipf.values())
    weights |= {name: rest * weight / total for name, weight in zipf.items()}
    return weights


@functools.cache
def _one_in(divisor: int, *parts: str) -> bool:
    digest = hashlib.sha256("|".join(("held-out", *parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % divisor == 0


def held_out_triple(type_name: str, color: str, place: str) -> bool:
    """Whether a type in a colour at a place is held out for the test: one of 16 triples.

    None is held out of types with few colours or one place, which could otherwise disappear from training.
    """
    kind = load_catalog().types[type_name]
    low, high = kind.hue
    return high - low >= 0.5 and len(kind.places) != 1 and _one_in(16, type_name, color, place)


def held_out_pair(a: str, b: str) -> bool:
    """Whether two types in one scene are held out for the test: one pair of 25."""
    return a != b and _one_in(25, *sorted((a, b)))


def held_out(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """The held-out compositions of a scene: (type, colour, place) triples and (type, type) pairs."""
    found: list[tuple[str, ...]] = []
    things = scene.objects
    for position, thing in enumerate(things):
        color = color_word(thing.hue, thing.saturation, thing.lightness)
        if held_out_triple(thing.type, color, scene.place):
            found.append((thing.type, color, scene.place))
        for other in things[position + 1 :]:
            if held_out_pair(thing.type, other.type):
                found.append((thing.type, other.type))
    return tuple(found)
