"""What the captions of one image state, united: its things with counts, attributes, actions and what they wear.

    image = read_image(["A man in a red hat rides a horse", "A person on a horse"])
    image.things["man"].actions["ride"].said     # "riding a horse"

A value that the captions of one image disagree about is left out.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mining.annotate.english import gerund, noun_phrase
from mining.text.axes import ADJECTIVE_AXES
from mining.text.caption_facts import Facts, facts_of
from mining.text.kinds import (
    ACTS_ALONE,
    ACTS_ON,
    ACTS_TOWARD,
    DEPICTIONS,
    GAMES,
    NAMES_NOTHING,
    NOT_THINGS,
    kinds_of,
    same_noun,
)
from mining.text.nouns import noun_extractor

__all__ = ["CaptionImage", "Doing", "Thing", "Value", "names_something", "read_image"]

_ATTRIBUTES = ("color", "size", "material", "texture", "shape", "state", "attribute")
_OWNER = re.compile(r"(?P<owner>.*?)(?: \((?P<part>[^()]*)\))?\Z", re.DOTALL)
_WORN = "'s "
_NOUNS = noun_extractor("lexicon")


@dataclass(frozen=True)
class Value:
    """A value of a slot: the group by which it is compared, and the words of the caption."""

    group: str
    words: str


@dataclass(frozen=True)
class Doing:
    """What something does. said: with its object ("riding a horse"). alone: the verb without one, "" where that shows
    nothing ("holding"). direct: whether the object is the verb's own, not one of place or direction.
    """

    said: str
    alone: str
    direct: bool


@dataclass
class Thing:
    """Things of one noun in one image. count: a number as text, "many", or "" where unknown or disputed.

    attributes: (axis, dimension) -> value, where one individual or one group of them is named. actions: by the group of
    the verb. worn: noun -> attributes of what it wears.
    """

    noun: str
    counts: list[str] = field(default_factory=list)
    alone: bool = True  # whether no caption names two of this noun apart
    attributes: dict[tuple[str, str], set[Value]] = field(default_factory=dict)
    actions: dict[str, Doing] = field(default_factory=dict)
    worn: dict[str, dict[tuple[str, str], set[Value]]] = field(default_factory=dict)

    @property
    def count(self) -> str:
        numbers = {each for each in self.counts if each != "many"}
        if len(numbers) > 1 or (numbers == {"1"} and "many" in self.counts):
            return ""
        return next(iter(numbers)) if numbers else "many" if self.counts else ""

    @property
    def several(self) -> bool:
        return self.count not in ("1", "")


@dataclass
class CaptionImage:
    """What the captions of one image state.

    Attributes:
        things: noun -> Thing, in the order of mention.
        scene: "place", "light" or "view" -> values.
        positions: (noun, other noun) -> prepositions: their group and their words.
        zones: noun -> "left", "right" or "middle".
        doubtful: nouns that may be other captions' words for one of `things`.
    """

    things: dict[str, Thing] = field(default_factory=dict)
    scene: dict[str, set[Value]] = field(default_factory=dict)
    positions: dict[tuple[str, str], set[Value]] = field(default_factory=dict)
    zones: dict[str, set[str]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)

    def names(self, noun: str) -> bool:
        """Whether a caption names this noun: as a thing, as the place, or as what somebody wears."""
        if noun in self.things or any(noun == value.words for value in self.scene.get("place", ())):
            return True
        worn = [each for thing in self.things.values() for each in thing.worn]
        return any(noun == each or noun in kinds_of(each) or each in kinds_of(noun) for each in worn)


def read_image(captions: Iterable[str]) -> CaptionImage:
    """What these captions of one image state together."""
    image = CaptionImage()
    named = [_add(image, facts_of(caption), frozenset(_NOUNS([caption])[0])) for caption in captions]
    for noun in [noun for noun in image.things if any(noun in kinds_of(each) for each in image.things)]:
        image.things.pop(noun)  # "a person" of one caption is "a man" of another
    # "A dancer", "a boy" and "a skateboarder" of three captions are likely one person.
    often = Counter(noun for own in named for noun in own)
    for noun in sorted(image.things, key=lambda noun: -often[noun]):
        for other in [each for each in image.things if each != noun and noun in image.things]:
            alike = set(kinds_of(noun)) & set(kinds_of(other))
            if alike and often[other] <= often[noun] and not any({noun, other} <= own for own in named):
                image.things.pop(other)
                image.doubtful.add(other)
    return image


@functools.lru_cache(maxsize=65_536)
def names_something(caption: str) -> bool:
    """Whether a caption may name a thing or a place: False for "Share this on social media", "Follow us on instagram".

    True where no noun is known, as in names and other languages, unless one of `NAMES_NOTHING` is among its words.
    """
    nouns = _NOUNS([caption])[0] or NAMES_NOTHING.intersection(caption.casefold().split())
    return not nouns or not NAMES_NOTHING.issuperset(nouns)


def _add(image: CaptionImage, facts: Facts, known: frozenset[str]) -> set[str]:
    """Add the facts of a caption; returns its things. known: its nouns, without names and what it says is not there."""
    nouns_said = {owner: value for (axis, owner), value in facts.items() if axis == "object"}
    nouns = {owner: same_noun(value) for owner, value in nouns_said.items()}
    shown = {owner: noun for owner, noun in nouns.items() if _is_shown(owner, facts, known)}
    own = [noun for owner, noun in shown.items() if _WORN not in owner]
    # noun -> the caption's word -> counts; "a plane" and then "the airplane" are one.
    counted: dict[str, dict[str, list[str]]] = {}
    for (axis, name), value in facts.items():
        found = _OWNER.match(name)
        owner, part = (found["owner"], found["part"] or "") if found else (name, "")
        wearer, worn, _ = owner.partition(_WORN)
        group, _, words = value.partition("|")
        if axis in ("place", "light", "view"):
            image.scene.setdefault(axis, set()).add(Value(group, words))
        elif axis == "position" and name in shown:
            image.zones.setdefault(shown[name], set()).add(group)
        elif axis == "position":
            _position(image, shown, own, name, Value(group, words))
        elif wearer not in shown or owner not in nouns:
            continue
        elif worn:
            if facts["object", owner].rpartition(" ")[2] in known or facts["object", owner] in known:
                _worn(image, shown[wearer], nouns[owner], axis, part, Value(group, words or group))
        else:
            thing = image.things.setdefault(shown[owner], Thing(shown[owner]))
            if axis == "count":
                counted.setdefault(thing.noun, {}).setdefault(nouns_said[owner], []).append(group)
            elif axis in _ATTRIBUTES:
                thing.attributes.setdefault((axis, part), set()).add(Value(group, words or group))
            elif axis == "action":
                _action(thing, facts, shown, owner, group, words)
    for noun, by_word in counted.items():
        thing = image.things[noun]
        thing.alone = thing.alone and all(len(counts) == 1 for counts in by_word.values())
        thing.counts.append(_sum(max(by_word.values(), key=len)))
    return set(counted)


def _sum(counts: list[str]) -> str:
    return str(sum(map(int, counts))) if all(map(str.isdigit, counts)) else "many"


def _is_shown(owner: str, facts: Facts, known: frozenset[str]) -> bool:
    """Whether a noun of the facts is a thing in the image: no name, no part of a body, and no picture of a thing."""
    noun = facts["object", owner]
    head = noun.rpartition(" ")[2]
    if noun in ADJECTIVE_AXES and facts.get(("count", owner)) == "1|one":
        return False  # "a man in orange"
    if not {noun, head} & known or {noun, same_noun(noun), head} & NOT_THINGS:
        return False
    return not any(facts.get(("relation", f"{each} - {owner}")) == "of" for each in DEPICTIONS)


def _worn(image: CaptionImage, noun: str, worn: str, axis: str, part: str, value: Value) -> None:
    thing = image.things.setdefault(noun, Thing(noun))
    said = thing.worn.setdefault(worn, {})
    if axis in _ATTRIBUTES:
        said.setdefault((axis, part), set()).add(value)


def _position(image: CaptionImage, shown: dict[str, str], own: list[str], name: str, value: Value) -> None:
    one, _, other = name.partition(" - ")
    if one not in shown or other not in shown or shown[one] == shown[other]:
        return
    pair = shown[one], shown[other]
    if all(own.count(noun) == 1 for noun in pair):
        image.positions.setdefault(pair, set()).add(value)


def _action(thing: Thing, facts: Facts, shown: dict[str, str], owner: str, group: str, verb: str) -> None:
    """Add a verb with its object, where it is the owner's only verb and so the object is surely its."""
    if " and " in verb:
        return
    objects: dict[str, str] = {}
    if ("action", f"{owner} (2)") not in facts:
        for (axis, name), value in facts.items():
            one, _, other = name.partition(" - ")
            noun = facts.get(("object", other), "")
            if axis not in ("relation", "position") or one != owner or not noun:
                continue
            if noun in GAMES and verb == "play":
                objects.setdefault("object", noun)
            elif other in shown:
                count = facts.get(("count", other), "1").partition("|")[0]
                phrase = noun_phrase(shown[other], count).removeprefix("several ")
                objects.setdefault(value.rpartition("|")[2], phrase)
    toward = next((each for each in objects if (verb, each) in ACTS_TOWARD), None)
    alone = gerund(verb) if verb in ACTS_ALONE or verb == "park" else ""
    if verb in ACTS_ON and "object" in objects:
        doing = Doing(f"{gerund(verb)} {objects['object']}", alone, True)
    elif toward is not None:
        doing = Doing(f"{gerund(verb)} {toward} {objects[toward]}", alone, False)
    elif alone:
        doing = Doing(alone, alone, False)
    else:
        return
    kept = thing.actions.get(group)
    if kept is None or (kept.direct, len(kept.said)) < (doing.direct, len(doing.said)):
        thing.actions[group] = doing
