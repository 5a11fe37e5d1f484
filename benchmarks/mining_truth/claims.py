"""The claims of the mining strategies and whether they hold, by the truth of the scenes in a mined set."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from mining.sets.image_set import ImageSet
from scenes.comparing.axes import CAD_AXES
from scenes.comparing.compare import Comparison, compare
from scenes.world.catalog import load_catalog
from scenes.world.scene import Scene


@dataclass(frozen=True)
class Truth:
    """A set and the scenes of its members; of a set larger than two, all pairs are compared."""

    each: ImageSet
    scenes: tuple[Scene, ...]

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(compare(a, b) for a, b in combinations(self.scenes, 2))

    @cached_property
    def types(self) -> tuple[frozenset[str], ...]:
        return tuple(frozenset(thing.type for thing in scene.objects) for scene in self.scenes)

    @property
    def subjects(self) -> frozenset[str]:
        """Types that appear in all scenes."""
        return frozenset.intersection(*self.types)

    @property
    def individuals(self) -> frozenset[str]:
        """Named individuals that appear in all scenes."""
        return frozenset.intersection(
            *(frozenset(thing.entity for thing in scene.objects if thing.entity) for scene in self.scenes)
        )

    @property
    def same_place(self) -> bool:
        return len({scene.place for scene in self.scenes}) == 1

    @cached_property
    def axes(self) -> frozenset[str]:
        """CaD's axes along which at least two of the scenes differ."""
        return frozenset(found.axis for comparison in self.comparisons for found in comparison.differences)

    @property
    def same_picture(self) -> bool:
        """Whether two of the scenes differ in nothing."""
        return any(not comparison.differences for comparison in self.comparisons)

    @property
    def one_difference(self) -> bool:
        """Whether the scenes have a subject in common, and each two of them differ in one thing only."""
        return bool(self.subjects) and all(len(comparison.differences) == 1 for comparison in self.comparisons)

    def said_of(self, scenes: Sequence[Scene]) -> Truth:
        """What this set claims (its axis, nouns, reasons, ...), of other scenes."""
        return Truth(self.each, tuple(scenes))


def _nouns_hold(truth: Truth) -> bool:
    """Whether each noun that the set claims names an object (by name or category) or the place of every scene."""
    return all(noun in words for words in map(scene_words, truth.scenes) for noun in truth.each.shared_nouns or ())


_LIGHT_NOUNS = {
    "day": {"day", "daylight", "daytime", "light"},
    "dusk": {"dusk", "evening", "sunset", "light"},
    "night": {"night", "dark", "darkness"},
    "overcast": {"day", "sky", "cloud"},
}


def scene_words(scene: Scene) -> frozenset[str]:
    """All nouns that are true of a scene: its types, their synonyms, categories and parts, and its place."""
    catalog = load_catalog()
    found = (
        _LIGHT_NOUNS[scene.light]
        | set(scene.place.split())
        | set(re.findall(r"[a-z]+", catalog.places[scene.place].phrase))
        | {scene.place}
    )
    for thing in scene.objects:
        kind = catalog.types[thing.type]
        for name in (kind.name, *kind.synonyms, *kind.path, kind.part or "", (kind.part or "").removesuffix("s")):
            found |= {name, *name.split()}
        if thing.entity:
            found |= {thing.entity.lower()}
    return frozenset(found)


# The names that `attribute` gives its axes, and the changes of `compare` that each one stands for; names of the truth's
# own fields stand for themselves.
_CHANGES = {
    "color": {"hue", "saturation", "lightness"},
    "action": {"pose"},
    "size": {"size", "part_scale"},
    "shape": {"roundness", "elongation"},
    "texture": {"roughness", "gloss"},
    "material": {"roughness", "gloss"},
    "x": {"position"},
    "y": {"position"},
    "depth": {"position"},
}


def _axis_differs(truth: Truth) -> bool:
    """Whether the named axis differs and the scenes share a subject."""
    changes = {found.change for comparison in truth.comparisons for found in comparison.differences}
    wanted = _CHANGES.get(str(truth.each.axis), {str(truth.each.axis)})
    return bool(changes & wanted) and bool(truth.subjects)


def _differs_a_little(truth: Truth) -> bool:
    """Whether the scenes share a subject and differ in something, but in no more than two things."""
    return bool(truth.subjects) and all(0 < len(each.differences) <= 2 for each in truth.comparisons)


def _contrasts(truth: Truth) -> bool:
    """Whether similar images show other types in one place, or similar captions have a subject in common but two axes
    or more differ."""
    if truth.each.extra.get("alike") == "images":
        return truth.types[0] != truth.types[1] and truth.same_place
    return bool(truth.subjects) and len(truth.axes) >= 2


def _related(truth: Truth) -> bool:
    return bool(truth.subjects) or truth.same_place


# strategy, or strategy: variant: (its claim, whether the claim holds)
CLAIMS: dict[str, tuple[str, Callable[[Truth], bool]]] = {
    "similar": ("a subject or the place in common", _related),
    "similar: nearly identical": ("a subject in common, one or two things differ", _differs_a_little),
    "diverse": (
        "a subject in common, two axes or more differ",
        lambda truth: bool(truth.subjects) and len(truth.axes) >= 2,
    ),
    "identity": (
        "the same individual in all, another place or two axes",
        lambda truth: bool(truth.individuals) and (not truth.same_place or len(truth.axes) >= 2),
    ),
    "overlap": ("every shared noun is in both pictures", _nouns_hold),
    "contrast": ("alike in the one way, not in the other", _contrasts),
    "attribute": ("the subject is shared, the named axis differs", _axis_differs),
    "attribute: all captions": ("the subject is shared, the named axis differs", _axis_differs),
    "attribute: by metadata": ("the subject is shared, the named field differs", _axis_differs),
    "groups": ("every shared noun is in all pictures", _nouns_hold),
    "random": ("", lambda truth: True),
}


# variant: options of `MiningConfig`
VARIANTS: dict[str, dict[str, Any]] = {
    "similar: nearly identical": {"ceiling": 1.0, "levels": (5,)},
    "attribute: all captions": {"captions": "all"},
    "attribute: by metadata": {
        "ceiling": 1.0,
        "facts": ("truth.objects", "truth.place", "truth.light", "truth.view"),
    },
}


def level_balance(levels: dict[str, int], supply: dict[str, int], wanted: int) -> float:
    """The fewest sets of a level over the most, among levels with enough proposals for an equal share of `wanted`."""
    share = wanted / max(1, len(supply))
    enough = [levels.get(level, 0) for level, proposed in supply.items() if proposed >= share]
    most = max(enough, default=0)
    return min(enough) / most if most else 1.0


def subjects_reached(truths: Sequence[Truth], all_types: frozenset[str]) -> float:
    """The share of the corpus's types that all scenes of at least one set show."""
    return len({name for truth in truths for name in truth.subjects} & all_types) / max(1, len(all_types))


def mean_axes(truths: Sequence[Truth]) -> float:
    """The mean number of axes that differ, of CaD's six."""
    assert len(CAD_AXES) == 6
    return sum(len(truth.axes) for truth in truths) / max(1, len(truths))
