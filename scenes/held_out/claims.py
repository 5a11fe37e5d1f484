"""Short captions with what they claim, so that it can be checked of any scene: "a red car on a street".

    claim = Claim((Thing("car", "red"),), place="street")
    claim.text()                 # "a red car on a street"
    claim.holds(scene), claim.excluded(other)

`holds` takes what is seen and clear; `excluded` says that not even the background or a hidden object makes it true.
Between the two lie scenes of which nothing is said.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

from scenes.comparing.commonalities import LIGHT_PHRASES, RELATION_WORDS
from scenes.world import words
from scenes.world.actions import action_holds
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.entities import PEOPLE
from scenes.world.facts import count, is_a
from scenes.world.geometry import relation_holds, seen
from scenes.world.scene import Scene, SceneObject

__all__ = ["Claim", "Thing", "color_of", "thing_of"]


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object of a type; color, pose: as words, None where they are not claimed."""

    type: str
    color: str | None = None
    pose: str | None = None

    def noun(self) -> str:
        """The noun with its colour: "red car", "woman in blue"."""
        if self.color is None:
            return self.type
        worn = load_catalog().types[self.type].path[0] in PEOPLE
        return f"{self.type} in {self.color}" if worn else f"{self.color} {self.type}"

    def fits(self, thing: SceneObject) -> bool:
        """Whether an object is such a thing."""
        return (
            is_a(thing.type, self.type)
            and self.color in (None, color_of(thing))
            and (self.pose is None or thing.pose == self.pose)
        )


@dataclasses.dataclass(frozen=True)
class Claim:
    """A caption: one or two things, how they relate, how many there are of the first one's type, place and light.

    relation: one of RELATION_WORDS from the first thing to the second. verb: what the first does to the second.
    """

    things: tuple[Thing, ...]
    relation: str | None = None
    verb: str | None = None
    number: int | None = None
    place: str | None = None
    light: str | None = None

    def text(self) -> str:
        """The caption, without a full stop."""
        first = self.things[0]
        if self.number is not None:
            kind = load_catalog().types[first.type]
            said = words.indefinite(first.type) if self.number == 1 else f"{words.NUMBERS[self.number]} {kind.plural}"
        else:
            said = words.indefinite(first.noun())
        if first.pose is not None:
            said += f" {first.pose}"
        if len(self.things) > 1:
            joined = self.verb or (RELATION_WORDS[self.relation] if self.relation else "and")
            said += f" {joined} {words.indefinite(self.things[1].noun())}"
        if self.place is not None:
            said += f" {load_catalog().places[self.place].phrase}"
        if self.light is not None:
            said += f" {LIGHT_PHRASES[self.light]}"
        return said

    def holds(self, scene: Scene) -> bool:
        """Whether the caption is true of the scene's seen objects."""
        if self.place not in (None, scene.place) or self.light not in (None, scene.light):
            return False
        if self.number is not None and (
            count(scene, self.things[0].type) != self.number or shown_by_background(scene.place, self.things[0].type)
        ):
            return False
        return self._found(scene, seen(scene), self._related)

    def excluded(self, scene: Scene) -> bool:
        """Whether the caption is surely false of the scene."""
        if (self.place is not None and self.place != scene.place) or (
            self.light is not None and {self.light, scene.light} not in ({self.light}, {"day", "overcast"})
        ):
            return True
        if any(shown_by_background(scene.place, thing.type) for thing in self.things):
            return False
        if self.number is not None and count(scene, self.things[0].type) != self.number:
            return len(seen(scene)) == len(scene.objects)
        # A relation that is not clear may be said by somebody: only its opposite excludes it.
        return not self._found(scene, tuple(range(len(scene.objects))), self._may_relate)

    def _found(self, scene: Scene, among: tuple[int, ...], related: Callable[[Scene, int, int], bool]) -> bool:
        for places in itertools.permutations(among, len(self.things)):
            fit = all(thing.fits(scene.objects[i]) for thing, i in zip(self.things, places, strict=True))
            if fit and (len(places) < 2 or related(scene, places[0], places[1])):
                return True
        return False

    def _related(self, scene: Scene, i: int, j: int) -> bool:
        if self.verb is not None:
            return action_holds(scene, i, self.verb, j)
        return self.relation is None or relation_holds(scene, self.relation, i, j)

    def _may_relate(self, scene: Scene, i: int, j: int) -> bool:
        if self.verb is not None:
            return action_holds(scene, i, self.verb, j)
        opposite = _OPPOSITES.get(self.relation or "")
        return opposite is None or not relation_holds(scene, opposite, i, j)


_OPPOSITES = {
    "left_of": "right_of", "right_of": "left_of", "above": "below", "below": "above", "behind": "in_front_of",
    "in_front_of": "behind",
}  # fmt: skip


def color_of(thing: SceneObject) -> str:
    """The basic colour word of an object."""
    return words.color_word(thing.hue, thing.saturation, thing.lightness)


def thing_of(thing: SceneObject, *, color: bool = True, pose: bool = False) -> Thing:
    """What an object is, with its colour unless that is the type's name, and with its pose where asked for."""
    word = color_of(thing)
    return Thing(thing.type, word if color and word != thing.type else None, thing.pose if pose else None)
