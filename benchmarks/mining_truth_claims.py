"""What the truth of two drawn scenes says about a mined set: claims of the strategies, and what every set is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from mining.sets.image_set import ImageSet
from scenes.comparing.axes import CAD_AXES
from scenes.comparing.compare import Comparison, compare
from scenes.world.catalog import load_catalog
from scenes.world.scene import Scene


@dataclass(frozen=True)
class Truth:
    """A set and the scenes of its members; pairs of a larger set are each looked at."""

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
        """Types that all scenes show."""
        return frozenset.intersection(*self.types)

    @property
    def individuals(self) -> frozenset[str]:
        """Named individuals who are in all scenes."""
        return frozenset.intersection(
            *(frozenset(thing.entity for thing in scene.objects if thing.entity) for scene in self.scenes)
        )

    @property
    def same_place(self) -> bool:
        return len({scene.place for scene in self.scenes}) == 1

    @cached_property
    def axes(self) -> frozenset[str]:
        """CaD's axes along which any two of the scenes differ."""
        return frozenset(found.axis for comparison in self.comparisons for found in comparison.differences)

    @property
    def one_picture(self) -> bool:
        """Whether two of the scenes are one picture for any reader: at most one difference along all axes."""
        return any(len(comparison.differences) <= 1 for comparison in self.comparisons)


def _nouns_hold(truth: Truth) -> bool:
    """Whether each noun that the set claims is in both scenes: their things (by any name or kind) or their place."""
    return all(noun in words for words in map(scene_words, truth.scenes) for noun in truth.each.shared_nouns or ())


_LIGHT_NOUNS = {
    "day": {"day", "daylight", "daytime", "light"},
    "dusk": {"dusk", "evening", "sunset", "light"},
    "night": {"night", "dark", "darkness"},
    "overcast": {"day", "sky", "cloud"},
}


def scene_words(scene: Scene) -> frozenset[str]:
    """All nouns that are true of a scene: its types, their synonyms, kinds and parts, and the words of its place."""
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


# What `attribute` calls its axes, and which of compare's changes or CaD axes they are.
_CHANGES = {
    "color": {"hue", "saturation", "lightness"},
    "count": {"count"},
    "number": {"count"},
    "action": {"pose"},
    "position": {"position"},
    "size": {"size"},
    "shape": {"roundness", "elongation"},
    "texture": {"roughness", "gloss"},
    "material": {"roughness", "gloss"},
    "place": {"place"},
    "location": {"place"},
    "scene": {"place"},
    "time": {"light"},
    "light": {"light"},
    "object": {"type"},
}


def _axis_differs(truth: Truth) -> bool:
    """Whether the named axis does differ and the subject is the same."""
    changes = {found.change for comparison in truth.comparisons for found in comparison.differences}
    wanted = _CHANGES.get(str(truth.each.axis), {str(truth.each.axis)})
    return bool(changes & wanted) and bool(truth.subjects)


def _contrasts(truth: Truth) -> bool:
    """Images alike: one place, and not the same things. Captions alike: a subject in common, and another picture."""
    if truth.each.reasons[0].startswith("images alike"):
        return truth.types[0] != truth.types[1] and truth.same_place
    return bool(truth.subjects) and len(truth.axes) >= 2


# strategy: (what it claims, whether it holds)
CLAIMS: dict[str, tuple[str, Callable[[Truth], bool]]] = {
    "similar": ("a subject or the place in common", lambda truth: bool(truth.subjects) or truth.same_place),
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
    "random": ("", lambda truth: True),
}


def level_balance(levels: dict[str, int], supply: dict[str, int]) -> float:
    """The rarest level's sets over the commonest's, among levels with enough proposals for an equal share."""
    share = sum(levels.values()) / max(1, len(supply))
    enough = [levels.get(level, 0) for level, proposed in supply.items() if proposed >= share]
    return min(enough) / max(enough) if enough and max(enough) else 0.0


def subjects_reached(truths: Sequence[Truth], all_types: frozenset[str]) -> float:
    """The share of the corpus's types that some set has in common."""
    return len({name for truth in truths for name in truth.subjects} & all_types) / max(1, len(all_types))


def mean_axes(truths: Sequence[Truth]) -> float:
    """Axes that differ, of CaD's six."""
    assert len(CAD_AXES) == 6
    return sum(len(truth.axes) for truth in truths) / max(1, len(truths))
