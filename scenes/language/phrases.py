"""Phrases about parts of a scene, each with the facts it states: nouns, places, lights, actions, relations.

A `Speaker` is one scene seen by one stream of chance. Only objects that can be seen are ever spoken of; objects of one
type are spoken of together ("two dogs") or one by one. Knows nothing about whole captions.
"""

from __future__ import annotations

import dataclasses
import functools
import random

from scenes.world import words
from scenes.world.actions import acts, is_activity, verb_of
from scenes.world.catalog import ObjectType, load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.entities import PEOPLE
from scenes.world.facts import Fact, shape_words_of
from scenes.world.geometry import RELATIONS, part_shows, relation_holds, relative_size, seen
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick, rng_of

Said = tuple[str, list[Fact]]  # a phrase and the facts it states
Unit = tuple[int, ...]  # objects of one type, spoken of together

# Categories that people use as words, with their plurals.
CATEGORY_WORDS = {
    "animal": "animals", "bird": "birds", "fish": "fish", "insect": "insects", "reptile": "reptiles",
    "vehicle": "vehicles", "tool": "tools", "fruit": "fruits", "vegetable": "vegetables", "plant": "plants",
    "flower": "flowers", "instrument": "instruments", "toy": "toys", "building": "buildings", "person": "people",
    "creature": "creatures", "sea creature": "sea creatures",
}  # fmt: skip
_PLACE_LIGHTS = {
    "day": ("in daylight", "during the day", "by day"),
    "dusk": ("at dusk", "in the evening light", "at sunset"),
    "night": ("at night", "in the dark", "after dark"),
    "overcast": ("on an overcast day", "on a gray day", "on a cloudy day"),
}
_VIEWS = {"high": ("seen from above", "from a high angle"), "low": ("seen from a low angle", "from low down")}
_RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left_of": ("to the left of", "on the left of", "left of"),
    "right_of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "behind": ("behind", "farther back than"),
    "in_front_of": ("in front of", "nearer than"),
    "next_to": ("next to", "beside", "close to"),
}
_WORN = ("in", "in", "dressed in")  # a person's colour is that of the clothes
_UNCOUNTABLE = {"hair", "fur", "wool", "foliage", "lettering", "teeth", "feet"}
_UNSAID = ("cold", "upright", "standing")  # states that nobody mentions
_SLOTS = ("size", "state", "texture", "shape", "color")  # the order of English adjectives


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A scene, what can be seen of it, and the chance that chooses words for it."""

    scene: Scene
    rng: random.Random
    kinds: tuple[ObjectType, ...]  # of all objects, by index
    seen: Unit
    units: tuple[Unit, ...]  # the seen objects by type, the most eye-catching first

    def unit_of(self, i: int) -> Unit:
        """The unit that object i belongs to."""
        return next(unit for unit in self.units if i in unit)


def speaker(scene: Scene, *seed: object) -> Speaker:
    """A speaker for a scene; equal scenes and seeds speak alike."""
    types = load_catalog().types
    kinds = tuple(types[thing.type] for thing in scene.objects)
    visible = seen(scene)
    groups: dict[str, list[int]] = {}
    for i in visible:
        groups.setdefault(scene.objects[i].type, []).append(i)
    return Speaker(scene, rng_of("speak", scene.id, *seed), kinds, visible, tuple(map(tuple, groups.values())))


@functools.cache
def category_words(type_name: str) -> tuple[str, ...]:
    """The categories of a type that people use as words for it, the broadest first."""
    kind = load_catalog().types[type_name]
    return () if kind.made_up else tuple(term for term in kind.path if term in CATEGORY_WORDS and term != kind.name)


def features(who: Speaker, unit: Unit) -> dict[str, tuple[str, str, str]]:
    """The adjectives that hold for every member: slot -> (word, kind of fact, value of the fact)."""
    common: dict[str, tuple[str, str, str]] | None = None
    for i in unit:
        thing, kind = who.scene.objects[i], who.kinds[i]
        own: dict[str, tuple[str, str, str]] = {}
        if size := words.size_word(relative_size(thing)):
            own["size"] = (size, "size", size)
        if not is_activity(thing.pose) and thing.pose not in _UNSAID and acts(kind):
            own["state"] = (thing.pose, "pose", thing.pose)
        if textures := words.texture_words(thing.roughness, thing.gloss):
            own["texture"] = (textures[0], "texture", textures[0])
        if shapes := shape_words_of(thing):
            own["shape"] = (shapes[0], "shape", shapes[0])
        color = words.color_word(thing.hue, thing.saturation, thing.lightness)
        if color != kind.name:  # nobody says "an orange orange"
            own["color"] = (color, "color", color)
        if kind.part and (part := words.part_word(thing.part_scale)) and part_shows(kind.name, thing.pose):
            own["part"] = (part, "part", part)
        common = own if common is None else {slot: word for slot, word in common.items() if own.get(slot) == word}
    return common or {}


def _color_phrase(who: Speaker, unit: Unit, color: str, facts: list[Fact], plain: bool) -> str:
    """A colour with its shade, or one word for both; the shade is only said when all members share it."""
    shades = set()
    for i in unit:
        thing = who.scene.objects[i]
        shades.add(words.shade_word(thing.hue, thing.saturation, thing.lightness))
    if plain or len(shades) > 1:
        return color
    shade = shades.pop()
    roll = who.rng.random()
    if roll < 0.25 and (others := words.COLOR_SYNONYMS.get((shade, color))):
        facts += [("shade", i, shade) for i in unit]
        return pick(who.rng, others)
    if shade and roll < 0.75:
        facts += [("shade", i, shade) for i in unit]
        return f"{pick(who.rng, words.SYNONYMS[shade])} {color}"
    return color


def noun(who: Speaker, unit: Unit, detail: int, general: float = 0.0, plain: bool = False) -> Said:
    """A noun for a unit with up to `detail` adjectives and no article: "small glossy red balls with big handles".

    With probability `general` the noun is a category ("animal") or a synonym; `plain` keeps to the basic words.
    """
    rng = who.rng
    kind = who.kinds[unit[0]]
    many = len(unit) > 1
    head, term = kind.plural if many else kind.name, kind.name
    roll = rng.random()
    if roll < general and (broad := category_words(kind.name)) and not many:
        term = head = pick(rng, broad)
    elif roll > 0.8 and kind.synonyms and not many and not plain:
        head = pick(rng, kind.synonyms)
    facts: list[Fact] = [("object", i, term) for i in unit]
    if detail <= 0:
        return head, facts
    found = features(who, unit)
    slots = list(found)
    # Colour is what people say first; the other adjectives are said when they are worth a word at all.
    chosen = {"color"} if "color" in found and rng.random() < 0.85 else set()
    while len(chosen) < min(detail, len(slots)):
        chosen.add(pick(rng, slots))
    said: list[str] = []
    worn = ""
    for slot in _SLOTS:
        if slot not in chosen:
            continue
        word, fact, value = found[slot]
        facts += [(fact, i, value) for i in unit]
        if slot == "color" and kind.path[0] in PEOPLE:
            worn = f" {pick(rng, _WORN)} {word}"
        elif slot == "color":
            said.append(_color_phrase(who, unit, word, facts, plain))
        else:
            said.append(word if plain else pick(rng, words.SYNONYMS.get(word, (word,))))
    text = " ".join([*said, head]) + worn
    if "part" in chosen:
        word, fact, value = found["part"]
        facts += [(fact, i, value) for i in unit]
        text += f"{' and' if worn else ''} with {with_part(kind.part, pick(rng, words.SYNONYMS[word]))}"
    return text, facts


def with_part(part: str, word: str) -> str:
    """A feature part with its adjective and, if it is countable and singular, its article: "big ears", "a big tail"."""
    plural = part.endswith("s") and not part.endswith("ss")
    return f"{word} {part}" if plural or part in _UNCOUNTABLE else words.indefinite(f"{word} {part}")


def mention(who: Speaker, unit: Unit, detail: int, general: float = 0.0, name: float = 0.0) -> Said:
    """A unit as it is first mentioned: "a red ball", "two brown dogs", or by its name."""
    if len(unit) == 1:
        thing = who.scene.objects[unit[0]]
        if thing.entity is not None and who.rng.random() < name:
            text, facts = noun(who, unit, detail, plain=True)
            facts.append(("entity", unit[0], thing.entity))
            return (f"{thing.entity} the {text}" if detail < 2 else f"{thing.entity}, {words.indefinite(text)},"), facts
        text, facts = noun(who, unit, detail, general)
        return words.indefinite(text), facts
    text, facts = noun(who, unit, detail)
    if shown_by_background(who.scene.place, who.kinds[unit[0]].name):
        return f"{pick(who.rng, ('some', 'several') if len(unit) > 2 else ('some',))} {text}", facts
    facts.append(("count", who.kinds[unit[0]].name, len(unit)))
    return f"{words.NUMBERS[len(unit)]} {text}", facts


def place(who: Speaker) -> Said:
    """Where: "in a meadow"."""
    return load_catalog().places[who.scene.place].phrase, [("place", who.scene.place)]


def light(who: Speaker) -> Said | None:
    """When: "at night"; None indoors by day, where there is nothing to say."""
    if load_catalog().places[who.scene.place].indoor and who.scene.light != "night":
        return None
    return pick(who.rng, _PLACE_LIGHTS[who.scene.light]), [("light", who.scene.light)]


def view(who: Speaker) -> Said | None:
    """How it is looked at: "seen from above"; None at eye level."""
    if who.scene.view not in _VIEWS:
        return None
    return pick(who.rng, _VIEWS[who.scene.view]), [("view", who.scene.view)]


def doing(
    who: Speaker, unit: Unit, detail: int = 1, general: float = 0.0, known: frozenset[int] = frozenset()
) -> Said | None:
    """What a unit is doing: "chasing a red ball", "sleeping"; None for what does nothing or not all the same.

    A target among the `known`, mentioned before, is "the ball".
    """
    thing = who.scene.objects[unit[0]]
    if len(unit) == 1 and thing.target in who.seen:
        target = thing.target
        verb = verb_of(thing)
        if verb is not None and target is not None:
            text, facts = mention(who, (target,), detail, general)
            if target in known:
                name = who.kinds[target].name
                alone = len(who.unit_of(target)) == 1
                text, facts = f"the {name}" if alone else f"one {name}", [("object", target, name)]
            return f"{verb} {text}", [*facts, ("action", unit[0], verb, target)]
    if not acts(who.kinds[unit[0]]) or not is_activity(thing.pose):
        return None
    if any(who.scene.objects[i].pose != thing.pose for i in unit):
        return None
    return thing.pose, [("pose", i, thing.pose) for i in unit]


def relation(who: Speaker, i: int, j: int) -> Said | None:
    """How object i stands to object j, without naming either: "to the left of"; None when nothing is clear."""
    clear = [name for name in RELATIONS if relation_holds(who.scene, name, i, j)]
    if not clear:
        return None
    name = pick(who.rng, clear)
    return pick(who.rng, _RELATION_PHRASES[name]), [(name, i, j)]
