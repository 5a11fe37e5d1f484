"""What an item of a comparison claims of each image, read from its words.

    read_item("Image 1 shows a red bus, Image 2 a blue bus.")
    # claims of image 1: a bus that is red; of image 2: a bus that is blue

Understood are the wordings of `mining.annotate.captions_comparison` and of `scenes.comparing.compare`, and sentences
like them. The words are read by `mining.text`; the places and lights are those of the scenes.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from mining.text.axes import ADJECTIVE_AXES
from mining.text.caption_facts import Facts, facts_of
from scenes.world.catalog import load_catalog

__all__ = ["Claims", "ItemClaims", "Named", "claims_of", "read_item"]

# "a dog" makes a phrase without a noun readable ("at night"); what it adds is taken out again.
_STAND_IN = "dog"
_LIGHTS = {
    "under an overcast sky": "overcast", "on an overcast day": "overcast", "on a gray day": "overcast",
    "on a cloudy day": "overcast", "by day": "day", "in daylight": "day", "during the day": "day", "at dusk": "dusk",
    "at sunset": "dusk", "in the evening light": "dusk", "at night": "night", "in the dark": "night",
    "after dark": "night",
}  # fmt: skip
_VIEWS = {
    "from above": "high", "from a high angle": "high", "from below": "low", "from a low angle": "low",
    "from low down": "low", "at eye level": "eye-level",
}  # fmt: skip
_VERB = (
    r"(?:shows?|has|have|contains?|depicts?|features?|is set|are set|was taken|were taken|is taken|are taken|"
    r"takes? place|is|are)"
)
_ONLY = re.compile(r"^(?:among its main objects, )?only (image \d) (?:shows|has) (?P<what>[^;]+)")
_THERE = re.compile(r"^there (?:is|are) (?P<one>.+?) in (?P<a>image \d) and (?P<other>.+?) in (?P<b>image \d)\W*$")
_BOTH_END = re.compile(r"^(?:there (?:is|are) )?(?P<what>.+?) in (?:both|the two) images\W*$")
_TWO_ENDS = re.compile(
    r"^(?P<who>.+?) (?:is|are) (?P<one>.+?) in (?P<a>image \d),? (?:and|but|while) (?:is |are )?(?P<other>.+?) "
    r"in (?P<b>image \d)\W*$"
)
_STATED = re.compile(r"^(?P<who>(?:the|a|an) .+?) (?:is|are) (?P<what>.+)$")
_NAMES = (
    (re.compile(r"\b(?:the )?(?:first|left) (?:image|picture|photo)\b"), "image 1"),
    (re.compile(r"\b(?:the )?(?:second|right) (?:image|picture|photo)\b"), "image 2"),
    (re.compile(r"\b(?:picture|photo) (?=[12]\b)"), "image "),
    (re.compile(r"\bthe first\b"), "image 1"),
    (re.compile(r"\bthe second\b"), "image 2"),
    (re.compile(r"\b(?:both|the two) (?:pictures|photos|of the images|of them)\b|\bboth\b(?! images)"), "both images"),
)
_SPLIT = re.compile(r"(?:^|[,;.]|\b(?:while|whereas|and|but|where))\s*(?=\b(?:image \d|images \d|both images)\b)")
_SUBJECT = re.compile(
    rf"^(?P<who>images? (?P<a>\d)(?: and (?P<b>\d))?|both images) (?:both )?(?:{_VERB} )?(?P<what>.+)$"
)
# What compares amounts ("farther right in the second image", "one more book than the first") is not checked.
_COMPARES = re.compile(
    r"\b(?:more|less|fewer) |\bthan\b|"
    r"\b(?:farther|nearer|closer|higher|lower|bigger|larger|smaller|darker|lighter|duller|rounder|rougher|smoother|glossier)\b"
)
_ANY_IMAGE = re.compile(r"\bimages? \d\b|\bboth images\b")


@dataclass(frozen=True)
class Named:
    """A thing that is named. facts: (axis, dimension) -> the group of `mining.text.axes`. verb: of what it does.

    number: as a text, "many", or "" where the words say nothing of it. side: "left", "right" or "middle".
    """

    noun: str
    number: str = ""
    facts: dict[tuple[str, str], str] = field(default_factory=dict)
    verb: str = ""
    side: str = ""

    @property
    def bare(self) -> bool:
        """Whether nothing is said of it but that it is there."""
        return not (self.facts or self.verb or self.side or self.number not in ("", "1"))


@dataclass
class Claims:
    """What is said of one image. relations: (name, relation, other name) with keys of `things`; scene: place, light,
    view and indoors. unread: words that were not understood.
    """

    things: dict[str, Named] = field(default_factory=dict)
    relations: list[tuple[str, str, str]] = field(default_factory=list)
    scene: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing that could be checked is said."""
        return not (self.things or self.scene)


@dataclass
class ItemClaims:
    """The claims by image, 1 and 2. absent: what an image is said not to show."""

    of: dict[int, Claims] = field(default_factory=dict)
    absent: dict[int, Claims] = field(default_factory=dict)


def read_item(text: str) -> ItemClaims:
    """What an item claims; without claims where its words are not understood."""
    said = _normal(text)
    found = ItemClaims()
    if _COMPARES.search(said):
        return found
    if match := _ONLY.match(said):
        image = int(match[1][-1])
        found.of[image] = found.absent[3 - image] = claims_of(match["what"])
    elif match := _THERE.match(said):
        for name, what in (("a", "one"), ("b", "other")):
            found.of[int(match[name][-1])] = claims_of(match[what], counted=True)
    elif match := _TWO_ENDS.match(said):
        for name, what in (("a", "one"), ("b", "other")):
            found.of[int(match[name][-1])] = claims_of(_joined(match["who"], match[what]))
    elif (match := _BOTH_END.match(said)) and not _ANY_IMAGE.match(said):
        stated = _STATED.match(match["what"])
        what = _joined(stated["who"], stated["what"]) if stated else match["what"]
        found.of = {1: claims_of(what), 2: claims_of(what)}
    else:
        for part in filter(None, _SPLIT.split(said)):
            if match := _SUBJECT.match(part.strip(" ,.;")):
                images = [1, 2] if match["a"] is None else [int(each) for each in (match["a"], match["b"]) if each]
                for image in images:
                    found.of[image] = claims_of(match["what"])
    return found


def claims_of(text: str, counted: bool = False) -> Claims:
    """What a phrase about one image states: "a red bus on a street". counted: "a bus" says that there is one bus."""
    claims = Claims()
    rest = _take_scene(text, claims)
    facts = facts_of(rest)
    if not facts and rest.strip(" .,"):
        facts = _without_stand_in(facts_of(f"a {_STAND_IN} {rest}"))
        if not facts:
            claims.unread.append(rest.strip())
    _add(claims, facts, rest, counted)
    return claims


def _normal(text: str) -> str:
    said = " ".join(text.casefold().split()).rstrip(" .")
    for pattern, name in _NAMES:
        said = pattern.sub(name, said)
    return said


def _joined(who: str, what: str) -> str:
    """ "the car", "red" -> "a red car"; "the dog", "chasing the ball" -> "the dog chasing the ball"."""
    noun = re.sub(r"^(?:the|a|an) ", "", who)
    words = [word for word in re.split(r",? and |, | ", what) if word]
    if words and all(word in ADJECTIVE_AXES or word in ("long", "stretched") for word in words):
        return f"a {' '.join(words)} {noun}"
    # "to the left of the dog in the first image and to the right of it in the second": "it" is the other thing.
    return f"the {noun} {what}"


@functools.cache
def _places() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The phrases of places, the longest first, with any preposition."""
    found = []
    for name, place in load_catalog().places.items():
        noun = re.sub(r"^(?:in|on|at) (?:a |an |the )?", "", place.phrase)
        names = "|".join(sorted({re.escape(name), re.escape(noun)}, key=len, reverse=True))
        found.append((re.compile(rf"\b(?:in|on|at) (?:a |an |the )?(?:{names})\b"), name))
    return tuple(sorted(found, key=lambda each: -len(each[1])))


@functools.cache
def _unchanging() -> frozenset[str]:
    """Nouns whose plural is the noun itself, such as sheep."""
    return frozenset(name for name, kind in load_catalog().types.items() if kind.plural == name)


def _take_scene(text: str, claims: Claims) -> str:
    """Move place, light, view and indoors from the text into the claims; returns what is left."""
    for pattern, name in _places():
        if pattern.search(text):
            claims.scene["place"] = name
            text = pattern.sub(" ", text)
    for axis, phrases in (("light", _LIGHTS), ("view", _VIEWS)):
        for phrase, value in phrases.items():
            if re.search(rf"\b{phrase}\b", text):
                claims.scene[axis] = value
                text = text.replace(phrase, " ")
    for word in ("indoors", "outdoors"):
        if re.search(rf"\b{word}\b", text):
            claims.scene["indoors"] = word
            text = text.replace(word, " ")
    return text


def _without_stand_in(facts: Facts) -> Facts:
    return {slot: value for slot, value in facts.items() if _STAND_IN not in slot[1]}


def _add(claims: Claims, facts: Facts, text: str, counted: bool) -> None:
    things: dict[str, Named] = {}
    for (axis, owner), value in facts.items():
        if axis == "object" and "'s " not in owner:
            number, _, word = facts.get(("count", owner), "1|a").partition("|")
            if word == "more than one" and value in _unchanging():
                number = "1"  # "both images show sheep"
            exact = counted or re.search(rf"\bone {re.escape(value)}\b", text)
            things[owner] = Named(value, number if number != "1" or exact else "")
            if number == "1" and exact:
                things[owner].facts["count", ""] = "1"
    for (axis, owner), value in facts.items():
        group, _, words = value.partition("|")
        name, _, part = owner.partition(" (")
        # "a woman in blue": the colour of her clothes is that of the drawn woman.
        name = name.removesuffix("'s clothes")
        if axis in ("color", "size", "texture", "shape", "material", "state", "attribute") and name in things:
            things[name].facts[axis, part.rstrip(")")] = group
        elif axis == "action" and name in things:
            things[name] = Named(things[name].noun, things[name].number, things[name].facts, words or group)
        elif axis == "position" and owner in things:
            old = things[owner]
            things[owner] = Named(old.noun, old.number, old.facts, old.verb, group)
        elif axis in ("position", "relation") and " - " in owner:
            one, _, other = owner.partition(" - ")
            if one in things and other in things:
                claims.relations.append((one, group, other))
        elif axis in ("light", "view") and axis not in claims.scene:
            claims.scene[axis] = group
        elif axis == "other":
            claims.unread.append(value)
    claims.things = things
