"""Phrases about parts of a scene, each with the facts that it states: nouns, places, lights, actions, relations.

Texts mention only objects that can be seen. Objects of the same type form a unit and are mentioned together ("two
dogs").
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

Phrase = tuple[str, list[Fact]]  # a text and the facts that it states
Unit = tuple[int, ...]  # indices of the seen objects of one type

# Categories whose names are used as nouns in texts, with their plurals.
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
_WORN = ("in", "in", "dressed in")  # the colour of a person is that of the clothes
_UNCOUNTABLE = {"hair", "fur", "wool", "foliage", "lettering", "teeth", "feet"}
_UNSAID = ("cold", "upright", "standing")  # states that texts do not mention
_SLOTS = ("size", "state", "texture", "shape", "color")  # the order of English adjectives


@dataclasses.dataclass(frozen=True)
class TextContext:
    """A scene, its seen objects, and the random stream that chooses the words about it."""

    scene: Scene
    rng: random.Random
    kinds: tuple[ObjectType, ...]  # types of all objects, by index
    seen: Unit  # indices of the seen objects
    units: tuple[Unit, ...]  # the seen objects by type, in order of the first one

    def unit_of(self, i: int) -> Unit:
        """The unit that object i belongs to."""
        return next(unit for unit in self.units if i in unit)


def text_context(scene: Scene, *seed: object) -> TextContext:
    """The context of a scene; the same scene and seed give the same words."""
    types = load_catalog().types
    kinds = tuple(types[thing.type] for thing in scene.objects)
    visible = seen(scene)
    groups: dict[str, list[int]] = {}
    for i in visible:
        groups.setdefault(scene.objects[i].type, []).append(i)
    return TextContext(scene, rng_of("speak", scene.id, *seed), kinds, visible, tuple(map(tuple, groups.values())))


@functools.cache
def category_words(type_name: str) -> tuple[str, ...]:
    """The categories of a type that texts may use as its noun, the broadest first."""
    kind = load_catalog().types[type_name]
    return () if kind.made_up else tuple(term for term in kind.path if term in CATEGORY_WORDS and term != kind.name)


def features(ctx: TextContext, unit: Unit) -> dict[str, tuple[str, str, str]]:
    """The adjectives that are true of every object of a unit: slot -> (word, kind of fact, value of the fact)."""
    common: dict[str, tuple[str, str, str]] | None = None
    for i in unit:
        thing, kind = ctx.scene.objects[i], ctx.kinds[i]
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
        if color != kind.name:  # avoids "an orange orange"
            own["color"] = (color, "color", color)
        if kind.part and (part := words.part_word(thing.part_scale)) and part_shows(kind.name, thing.pose):
            own["part"] = (part, "part", part)
        common = own if common is None else {slot: word for slot, word in common.items() if own.get(slot) == word}
    return common or {}


def _color_phrase(ctx: TextContext, unit: Unit, color: str, facts: list[Fact], plain: bool) -> str:
    """A colour with its shade, or one word for both; without the shade when the objects of the unit differ in it."""
    shades = set()
    for i in unit:
        thing = ctx.scene.objects[i]
        shades.add(words.shade_word(thing.hue, thing.saturation, thing.lightness))
    if plain or len(shades) > 1:
        return color
    shade = shades.pop()
    roll = ctx.rng.random()
    if roll < 0.25 and (others := words.COLOR_SYNONYMS.get((shade, color))):
        facts += [("shade", i, shade) for i in unit]
        return pick(ctx.rng, others)
    if shade and roll < 0.75:
        facts += [("shade", i, shade) for i in unit]
        return f"{pick(ctx.rng, words.SYNONYMS[shade])} {color}"
    return color


def noun(ctx: TextContext, unit: Unit, detail: int, general: float = 0.0, plain: bool = False) -> Phrase:
    """A noun for a unit with up to `detail` adjectives and no article: "small glossy red balls with big handles".

    With probability `general` the noun is a category ("animal"); `plain` avoids synonyms.
    """
    rng = ctx.rng
    kind = ctx.kinds[unit[0]]
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
    found = features(ctx, unit)
    slots = list(found)
    # Colour is the most common adjective in captions.
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
            said.append(_color_phrase(ctx, unit, word, facts, plain))
        else:
            said.append(word if plain else pick(rng, words.SYNONYMS.get(word, (word,))))
    text = " ".join([*said, head]) + worn
    if "part" in chosen:
        word, fact, value = found["part"]
        facts += [(fact, i, value) for i in unit]
        text += f"{' and' if worn else ''} with {with_part(kind.part, pick(rng, words.SYNONYMS[word]))}"
    return text, facts


def with_part(part: str, word: str) -> str:
    """A feature part with its adjective, and with its article if singular and countable: "big ears", "a big tail"."""
    plural = part.endswith("s") and not part.endswith("ss")
    return f"{word} {part}" if plural or part in _UNCOUNTABLE else words.indefinite(f"{word} {part}")


def mention(ctx: TextContext, unit: Unit, detail: int, general: float = 0.0, name: float = 0.0) -> Phrase:
    """The first mention of a unit: "a red ball", "two brown dogs", or with probability `name` by its name."""
    if len(unit) == 1:
        thing = ctx.scene.objects[unit[0]]
        if thing.entity is not None and ctx.rng.random() < name:
            text, facts = noun(ctx, unit, detail, plain=True)
            facts.append(("entity", unit[0], thing.entity))
            return (f"{thing.entity} the {text}" if detail < 2 else f"{thing.entity}, {words.indefinite(text)},"), facts
        text, facts = noun(ctx, unit, detail, general)
        return words.indefinite(text), facts
    text, facts = noun(ctx, unit, detail)
    if shown_by_background(ctx.scene.place, ctx.kinds[unit[0]].name):
        return f"{pick(ctx.rng, ('some', 'several') if len(unit) > 2 else ('some',))} {text}", facts
    facts.append(("count", ctx.kinds[unit[0]].name, len(unit)))
    return f"{words.NUMBERS[len(unit)]} {text}", facts


def place(ctx: TextContext) -> Phrase:
    """The place: "in a meadow"."""
    return load_catalog().places[ctx.scene.place].phrase, [("place", ctx.scene.place)]


def light(ctx: TextContext) -> Phrase | None:
    """The light: "at night"; None indoors by day."""
    if load_catalog().places[ctx.scene.place].indoor and ctx.scene.light != "night":
        return None
    return pick(ctx.rng, _PLACE_LIGHTS[ctx.scene.light]), [("light", ctx.scene.light)]


def view(ctx: TextContext) -> Phrase | None:
    """The view: "seen from above"; None at eye level."""
    if ctx.scene.view not in _VIEWS:
        return None
    return pick(ctx.rng, _VIEWS[ctx.scene.view]), [("view", ctx.scene.view)]


def doing(
    ctx: TextContext, unit: Unit, detail: int = 1, general: float = 0.0, known: frozenset[int] = frozenset()
) -> Phrase | None:
    """The action of a unit: "chasing a red ball", "sleeping"; None without a common action.

    A target in `known` was mentioned before and is called "the ball".
    """
    thing = ctx.scene.objects[unit[0]]
    if len(unit) == 1 and thing.target in ctx.seen:
        target = thing.target
        verb = verb_of(thing)
        if verb is not None and target is not None:
            text, facts = mention(ctx, (target,), detail, general)
            if target in known:
                name = ctx.kinds[target].name
                alone = len(ctx.unit_of(target)) == 1
                text, facts = f"the {name}" if alone else f"one {name}", [("object", target, name)]
            return f"{verb} {text}", [*facts, ("action", unit[0], verb, target)]
    if not acts(ctx.kinds[unit[0]]) or not is_activity(thing.pose):
        return None
    if any(ctx.scene.objects[i].pose != thing.pose for i in unit):
        return None
    return thing.pose, [("pose", i, thing.pose) for i in unit]


def relation(ctx: TextContext, i: int, j: int) -> Phrase | None:
    """A relation of object i to object j without their nouns: "to the left of"; None when no relation holds."""
    clear = [name for name in RELATIONS if relation_holds(ctx.scene, name, i, j)]
    if not clear:
        return None
    name = pick(ctx.rng, clear)
    return pick(ctx.rng, _RELATION_PHRASES[name]), [(name, i, j)]
