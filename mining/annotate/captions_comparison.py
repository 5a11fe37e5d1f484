"""A comparison of images by rules, from their captions alone: no model, and nothing that the captions do not state.

    compare_captions([["A red bus on a street"], ["A blue bus at night"]]).text()
    # Commonalities:
    # 1. Both images show a bus.
    # Differences:
    # 1. Image 1 shows a red bus, Image 2 a blue bus.

What is stated of one image and not of another is a difference only for whole things ("Image 1 shows a dog."); an
attribute, an action or a place differs where both captions state it. A thing that only one caption names counts as a
difference although the other image may show it too, as in what a language model makes of captions (CaD-VI's phase 1).

Limits: only English is read. What is no thing ("media", "flora", "price") and which nouns mean the same ("a potted
plant" and "a houseplant") is known for the words of `mining/text/words/kinds.txt` alone: a brand or a title that is
spelled like a thing is taken for one, and other synonyms count as two things.
"""

from __future__ import annotations

from collections.abc import Sequence

from mining.annotate.caption_image import CaptionImage, Thing, Value, read_image
from mining.annotate.comparison import AXES, Comparison, Item
from mining.annotate.english import every_image, noun_phrase, varied
from mining.text.axes import OPPOSITE_POSITIONS, SAME_PLACES, excludes
from mining.text.kinds import MASS, PLACE_PREPOSITIONS, kinds_of

__all__ = ["RULES_VERSION", "compare_captions"]

# Raised with every change of the rules or the wording, since annotations are kept with it.
RULES_VERSION = 2
_MOST_ALONE = 5  # things of one image that no other shows
_MOST_COMMON = 8
_INVERSE = {
    "left-of": "right-of", "right-of": "left-of", "behind": "in-front-of", "in-front-of": "behind", "above": "under",
    "under": "above", "next-to": "next-to",
}  # fmt: skip
_PHRASES = {
    "left-of": "to the left of", "right-of": "to the right of", "in-front-of": "in front of", "behind": "behind",
    "above": "above", "under": "under", "next-to": "next to", "on": "on", "in": "in", "outside": "outside",
}  # fmt: skip
_ZONES = {"left": "on the left", "right": "on the right", "middle": "in the middle"}
_LIGHTS = {"day": "by day", "dusk": "at dusk", "night": "at night", "overcast": "under an overcast sky"}
_VIEWS = {"high": "from above", "low": "from below"}
_WITH = frozenset(["hair", "beard", "mustache", "tattoo", "collar", "leash", "backpack", "makeup"])
# Attributes that stand before a noun, in the order of English.
_BEFORE_NOUN = ("attribute", "size", "shape", "state", "texture", "color", "material")


class _Lists:
    """Commonalities and differences as they are found, by axis."""

    def __init__(self, count: int) -> None:
        self.every = every_image(count)
        self.common: list[Item] = []
        self.different: list[Item] = []

    def shared(self, axis: str, phrase: str, verb: str = "show") -> None:
        self.common.append(Item(f"{self.every} {verb} {phrase}.", axis))

    def differ(self, axis: str, phrases: Sequence[str | None], one: str = "shows", several: str = "show") -> None:
        if len(set(phrases)) > 1:
            self.different.append(Item(varied(phrases, one, several), axis))

    def comparison(self) -> Comparison:
        return Comparison(_ordered(self.common)[:_MOST_COMMON], _ordered(self.different))


def compare_captions(captions: Sequence[Sequence[str]]) -> Comparison | None:
    """The comparison of images from the captions of each.

    None for fewer than two images, or where the captions of one name nothing, as in a language that is not English.
    """
    images = [read_image(own) for own in captions]
    if len(images) < 2 or not all(image.things or image.scene for image in images):
        return None
    lists = _Lists(len(images))
    shared = _things(lists, images)
    for noun in shared:
        things = [image.things[noun] for image in images]
        _counts(lists, things)
        _attributes(lists, things)
        _worn(lists, things)
        _actions(lists, things)
    _scene(lists, images)
    _positions(lists, images)
    return lists.comparison()


def _ordered(items: list[Item]) -> tuple[Item, ...]:
    """By axis, and without repetitions."""
    return tuple(sorted(dict.fromkeys(items), key=lambda item: AXES.index(item.axis or AXES[0])))


def _things(lists: _Lists, images: list[CaptionImage]) -> list[str]:
    """Compare what is shown; returns the nouns that all captions name as things."""
    nouns = list(dict.fromkeys(noun for image in images for noun in image.things))
    shared = [noun for noun in nouns if all(noun in image.things for image in images)]
    places = _stated([image.scene.get("place") for image in images])
    where = {place.words for place in places or ()}
    # The thing of one caption may be the place of another: "a dog in the snow", "a dog runs through snow".
    named = [noun for noun in nouns if noun not in shared and all(image.names(noun) for image in images)]
    for noun in (*shared, *named):
        counts = [image.things[noun].count if noun in image.things else "" for image in images]
        if where == {noun} or (len(set(counts)) == 1 and counts[0] not in ("1", "")):
            continue  # it is said of the location, or with the count
        several = all(count not in ("1", "") for count in counts)
        lists.shared("object types", _bare(noun_phrase(noun, "many" if several else "1")))
    doubtful = {noun for image in images for noun in image.doubtful}
    left = [[noun for noun in image.things if noun not in (*shared, *named, *doubtful)] for image in images]
    for kind in _replaced(lists, images, left, shared):
        lists.shared("object types", noun_phrase(kind))
    alone = [0] * len(images)
    for noun in dict.fromkeys(noun for own in left for noun in own):
        shows = [place for place, own in enumerate(left) if noun in own]
        if min(alone[place] for place in shows) < _MOST_ALONE:
            phrases: list[str | None] = [None] * len(images)
            for place in shows:
                phrases[place] = noun_phrase(noun, images[place].things[noun].count)
            lists.differ("object types", phrases)
            for place in shows:
                alone[place] += 1
    return shared


def _replaced(lists: _Lists, images: list[CaptionImage], left: list[list[str]], shared: list[str]) -> list[str]:
    """Take out of `left` what two images show under different names; returns the kinds that they share.

    "a girl" and "a child" may be one thing: no difference. "a man" and "a woman" are persons of different kinds.
    """
    found: list[str] = []
    if len(images) != 2:
        return found
    for alike in (_may_be_one, _common_kind):
        for one, other in [(one, other) for one in left[0] for other in left[1]]:
            kind = alike(one, other) if one in left[0] and other in left[1] else None
            if kind is None:
                continue
            found.append(kind)
            left[0].remove(one)
            left[1].remove(other)
            if alike is _common_kind:
                things = images[0].things[one], images[1].things[other]
                lists.differ("object types", [noun_phrase(thing.noun, thing.count) for thing in things])
    return [kind for kind in dict.fromkeys(found) if not any(kind in (noun, *kinds_of(noun)) for noun in shared)]


def _may_be_one(one: str, other: str) -> str | None:
    """The wider of two nouns of which one is a kind of the other, None for others."""
    return other if other in kinds_of(one) else one if one in kinds_of(other) else None


def _common_kind(one: str, other: str) -> str | None:
    """The nearest kind that both belong to, None without one."""
    return next((kind for kind in kinds_of(one) if kind in kinds_of(other)), None)


def _counts(lists: _Lists, things: list[Thing]) -> None:
    counts = [thing.count for thing in things]
    noun = things[0].noun
    if not all(counts) or noun in MASS:
        return
    if len(set(counts)) == 1:
        if counts[0] != "1":
            lists.shared("counts", noun_phrase(noun, counts[0]))
    elif all(one == other or excludes("count", one, other) for one in counts for other in counts):
        lists.differ("counts", ["one " + noun if count == "1" else noun_phrase(noun, count) for count in counts])


def _attributes(lists: _Lists, things: list[Thing]) -> None:
    if not all(thing.alone for thing in things):
        return
    common = []
    for slot in things[0].attributes:
        values = _stated([thing.attributes.get(slot) for thing in things])
        if values is None:
            continue
        if len({value.group for value in values}) == 1:
            same = {value.words for value in values}
            common.append((slot[0], values[0].words if len(same) == 1 else values[0].group))
        elif slot[0] != "attribute" and _exclude(slot[0], values):
            lists.differ(
                "attributes",
                [
                    noun_phrase(thing.noun, _many(thing), [value.words])
                    for thing, value in zip(things, values, strict=True)
                ],
            )
    if common:
        words = [word for axis, word in sorted(common, key=lambda each: _BEFORE_NOUN.index(each[0]))]
        count = "many" if all(thing.several for thing in things) else "1"
        lists.shared("attributes", _bare(noun_phrase(things[0].noun, count, words)))


def _worn(lists: _Lists, things: list[Thing]) -> None:
    """Compare what all of one noun wear: "a man in a red shirt"."""
    if not all(thing.alone and thing.worn for thing in things):
        return
    shared = [worn for worn in things[0].worn if all(worn in thing.worn for thing in things)]
    if not shared:  # "a man in a wetsuit", "a man in a hat"
        lists.differ("attributes", _doing(things, [_wearing(thing, next(iter(thing.worn))) for thing in things]))
    for worn in shared:
        said = [thing.worn[worn] for thing in things]
        values = {slot: _stated([each.get(slot) for each in said]) for slot in said[0]}
        if any(
            each is not None and slot[0] != "attribute" and _exclude(slot[0], each) for slot, each in values.items()
        ):
            lists.differ("attributes", _doing(things, [_wearing(thing, worn) for thing in things]))
            continue
        same = [each[0].words for each in values.values() if each is not None and len({one.group for one in each}) == 1]
        count = "many" if all(thing.several for thing in things) else "1"
        lists.shared("attributes", _bare(noun_phrase(things[0].noun, count, (), _in_worn(worn, same))))


def _wearing(thing: Thing, worn: str) -> str:
    """ "in a red shirt"; values that the captions of the image dispute are left out."""
    stated = {slot: _stated([values]) for slot, values in thing.worn[worn].items()}
    known = sorted((_BEFORE_NOUN.index(slot[0]), each[0].words) for slot, each in stated.items() if each is not None)
    return _in_worn(worn, [words for _, words in known])


def _in_worn(worn: str, words: Sequence[str]) -> str:
    return f"{'with' if worn in _WITH else 'in'} {noun_phrase(worn, '1', words)}"


def _actions(lists: _Lists, things: list[Thing]) -> None:
    if not all(thing.alone and thing.actions for thing in things):
        return
    count = "many" if all(thing.several for thing in things) else "1"
    common = [group for group in things[0].actions if all(group in thing.actions for thing in things)]
    for group in common:
        doing = [thing.actions[group] for thing in things]
        if len({each.said for each in doing}) == 1:
            lists.shared("actions", _bare(noun_phrase(things[0].noun, count, (), doing[0].said)))
        elif all(each.direct for each in doing):
            lists.differ("actions", _doing(things, [each.said for each in doing]))
        elif doing[0].alone:
            lists.shared("actions", _bare(noun_phrase(things[0].noun, count, (), doing[0].alone)))
    if not common:
        lists.differ("actions", _doing(things, [next(iter(thing.actions.values())).said for thing in things]))


def _doing(things: list[Thing], said: list[str]) -> list[str]:
    return [noun_phrase(thing.noun, _many(thing), (), each) for thing, each in zip(things, said, strict=True)]


def _scene(lists: _Lists, images: list[CaptionImage]) -> None:
    places = _stated([image.scene.get("place") for image in images])
    if places is not None:
        phrases = [f"{PLACE_PREPOSITIONS.get(value.words, 'in')} {noun_phrase(value.words)}" for value in places]
        same = {SAME_PLACES.get(value.words, value.words) for value in places}
        if len(same) == 1:
            lists.shared("locations", phrases[0], "are set")
        elif all(one is other or one.group != other.group for one in places for other in places):
            lists.differ("locations", phrases, "is set", "are set")
    for axis, words in (("light", _LIGHTS), ("view", _VIEWS)):
        values = _stated([image.scene.get(axis) for image in images])
        if values is None or any(value.group not in words for value in values):
            continue
        if len({value.group for value in values}) == 1:
            lists.shared("locations", words[values[0].group], "were taken")
        elif _exclude(axis, values):
            lists.differ("locations", [words[value.group] for value in values], "was taken", "were taken")


def _positions(lists: _Lists, images: list[CaptionImage]) -> None:
    for pair in images[0].positions:
        said = [_position(image, pair) for image in images]
        groups = [each for each in said if each is not None and each in _PHRASES]
        if len(groups) < len(images):
            continue
        one, other = (noun_phrase(noun) for noun in pair)
        if len(set(groups)) == 1:
            lists.shared("relative positions", f"{one} {_PHRASES[groups[0]]} {other}")
        elif all(first == second or (first, second) in OPPOSITE_POSITIONS for first in groups for second in groups):
            lists.differ("relative positions", [f"{one} {_PHRASES[group]} {other}" for group in groups])
    for noun in images[0].zones:
        zones = [image.zones.get(noun, set()) for image in images]
        if all(len(each) == 1 for each in zones):
            names = [_ZONES[next(iter(each))] for each in zones]
            if len(set(names)) == 1:
                lists.shared("relative positions", f"{noun_phrase(noun)} {names[0]}")
            else:
                lists.differ("relative positions", [f"{noun_phrase(noun)} {name}" for name in names])


def _position(image: CaptionImage, pair: tuple[str, str]) -> str | None:
    """The one position of the first noun to the second, also from the second's to the first."""
    groups = {value.group for value in image.positions.get(pair, ())}
    groups |= {_INVERSE.get(value.group, "") for value in image.positions.get(pair[::-1], ())}
    return next(iter(groups)) if len(groups) == 1 else None


def _stated(values: Sequence[set[Value] | None]) -> list[Value] | None:
    """The one value of each image; None where one has none, or several that differ."""
    found = []
    for each in values:
        if not each or len({value.group for value in each}) > 1:
            return None
        found.append(min(each, key=lambda value: (len(value.words), value.words)))
    return found


def _exclude(axis: str, values: list[Value]) -> bool:
    return all(one.group == other.group or excludes(axis, one.group, other.group) for one in values for other in values)


def _many(thing: Thing) -> str:
    return thing.count or "1"


def _bare(phrase: str) -> str:
    """ "several dogs" as "dogs": the number is said elsewhere."""
    return phrase.removeprefix("several ")
