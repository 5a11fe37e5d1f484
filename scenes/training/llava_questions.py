"""What the scenes' LLaVA is asked about one image, in regular words: short questions with short true answers.

Every question can be asked of the only image ("What color is the car?") and of one of several ("In image 2, what color
is the car?", "What color is the car in image 2?"). `Ask.key` names what is asked, so that two images' answers can be
compared. There are no questions that compare images: those are left to tuning.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from scenes.language.captions import clean_captions
from scenes.language.phrases import TextContext, features, place, text_context
from scenes.language.questions import questions
from scenes.world import words
from scenes.world.actions import acts, is_activity, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.easy import EASY_TYPES
from scenes.world.entities import PEOPLE
from scenes.world.geometry import relation_holds, zone
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick

KINDS = (
    "existence", "attribute", "count", "color", "place", "indoors", "light", "action", "side", "relation",
    "objects", "describe", "caption", "statement", "suits", "mixed", "which",
)  # fmt: skip
YES_NO_KINDS = ("existence",) * 5 + ("attribute",) * 4 + ("statement", "suits")  # drawn alike
Key = tuple[str, ...]  # (kind, what is asked)


class Ask(NamedTuple):
    """A question about one image. `key` is equal for the same question about another image."""

    key: Key
    question: str  # "What color is the car?"
    answer: str

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return self.key[0]


class About(NamedTuple):
    """What is known of a scene for asking."""

    asks: tuple[Ask, ...]  # questions whose answer is not yes or no
    present: frozenset[str]  # types that are seen
    unclear: frozenset[str]  # types that the background shows too
    phrases: tuple[str, ...]  # true noun phrases with attributes: "a red car"
    captions: tuple[str, ...]  # true captions in free words
    place: str


def about(scene: Scene) -> About:
    """The questions and phrases of a scene of the easy world; the same at every call."""
    ctx = text_context(scene, "llava")
    regular = _regular(ctx)
    free = tuple(text for text, _ in clean_captions(ctx))
    mixed = [
        Ask(("mixed", asked.question), asked.question, asked.answer)
        for asked in questions(scene, "llava")
        if asked.kind not in ("existence", "count")
    ]
    phrases = tuple(_unit_text(ctx, number) for number in range(len(ctx.units)) if _colored(ctx, number))
    asks = (
        *regular,
        *mixed[:4],
        Ask(("caption",), "Write a caption for {image}.", pick(ctx.rng, free)),
    )
    unclear = frozenset(name for name in EASY_TYPES if shown_by_background(scene.place, name))
    present = frozenset(ctx.kinds[i].name for i in ctx.seen)
    return About(asks, present, unclear, phrases, free, load_catalog().places[scene.place].phrase)


def _colored(ctx: TextContext, number: int) -> bool:
    return "color" in features(ctx, ctx.units[number])


def _unit_text(ctx: TextContext, number: int) -> str:
    """A unit with its colour and number: "a red car", "two brown dogs", "a woman in blue"."""
    unit = ctx.units[number]
    kind, many = ctx.kinds[unit[0]], len(unit) > 1
    head = kind.plural if many else kind.name
    color = features(ctx, unit).get("color")
    if color is not None:
        head = f"{head} in {color[0]}" if kind.path[0] in PEOPLE else f"{color[0]} {head}"
    return f"{words.NUMBERS[len(unit)]} {head}" if many else words.indefinite(head)


def _regular(ctx: TextContext) -> list[Ask]:
    scene, found = ctx.scene, list[Ask]()
    where = place(ctx)[0]
    indoor = load_catalog().places[scene.place].indoor
    found.append(Ask(("place",), "Where was {image} taken?", where))
    found.append(Ask(("indoors",), "Is {image} indoors or outdoors?", "indoors" if indoor else "outdoors"))
    if not indoor:
        found.append(Ask(("light",), "What is the light in {image}?", scene.light))
    # From left to right, so that the image tells the order.
    order = sorted(range(len(ctx.units)), key=lambda number: min(scene.objects[i].x for i in ctx.units[number]))
    listed = words.listed([_unit_text(ctx, number) for number in order])
    found.append(Ask(("objects",), "What does {image} show?", listed))
    light = {"night": " at night", "dusk": " at dusk"}.get(scene.light, "")
    found.append(Ask(("describe",), "Describe {image}.", f"{listed} {where}{light}"))
    for unit in ctx.units:
        kind, i, many = ctx.kinds[unit[0]], unit[0], len(unit) > 1
        name, verb = (kind.plural, "are") if many else (kind.name, "is")
        if not shown_by_background(scene.place, kind.name):
            asked = f"How many {kind.plural} are there?"
            found.append(Ask(("count", kind.name), asked, words.NUMBERS[len(unit)]))
        color = features(ctx, unit).get("color")
        if color is not None:
            wearing = " wearing" if kind.path[0] in PEOPLE else ""
            found.append(Ask(("color", kind.name), f"What color {verb} the {name}{wearing}?", color[0]))
        if many:
            continue
        if side := zone(scene.objects[i]):
            found.append(Ask(("side", kind.name), f"On which side is the {name}?", side))
        if acts(kind) and is_activity(scene.objects[i].pose):
            found.append(Ask(("action", kind.name), f"What is the {name} doing?", _doing(ctx, i)))
    alone = [unit[0] for unit in ctx.units if len(unit) == 1]
    for i in alone:
        for j in alone:
            if i == j:
                continue
            a, b = ctx.kinds[i].name, ctx.kinds[j].name
            for relation, word in (("left_of", "left"), ("right_of", "right")):
                if relation_holds(scene, relation, i, j):
                    found.append(Ask(("relation", a, b), f"Is the {a} left or right of the {b}?", word))
    return found


def _doing(ctx: TextContext, i: int) -> str:
    thing = ctx.scene.objects[i]
    verb = verb_of(thing)
    if verb is None or thing.target not in ctx.seen or thing.target is None:
        return thing.pose
    return f"{verb} the {ctx.kinds[thing.target].name}"


def yes_no(rng: random.Random, here: About, others: list[About]) -> Ask | None:
    """A question with the answer yes or no, each with probability one half; None when the chosen kind has none.

    What is absent here is often present in one of the `others`, so that a model must look at the right image.
    """
    kind = pick(rng, YES_NO_KINDS)
    truth = rng.random() < 0.5
    answer = "yes" if truth else "no"
    other = pick(rng, others) if others and rng.random() < 0.75 else None
    if kind == "existence":
        if truth:
            names = sorted(here.present - here.unclear)
        else:
            near = sorted(other.present - here.present - here.unclear) if other else []
            names = near or [name for name in EASY_TYPES if name not in here.present | here.unclear]
        if not names:
            return None
        name = pick(rng, names)
        return Ask(("existence", name), f"Is there {words.indefinite(name)}?", answer)
    if kind in ("attribute", "statement"):
        phrases = here.phrases if truth else _false_phrases(rng, here, other)
        if not phrases:
            return None
        phrase = pick(rng, phrases)
        if kind == "statement":
            where = here.place if truth or (other and rng.random() < 0.5) or other is None else other.place
            return Ask(("statement", phrase), f"Is it true that {{image}} shows {phrase} {where}?", answer)
        several = phrase.split(" ", 1)[0] in words.NUMBERS
        return Ask(("attribute", phrase), f"{'Are' if several else 'Is'} there {phrase}?", answer)
    if truth:
        said = here.captions
    elif other is None:
        return None
    else:
        strange = sorted(other.present - here.present - here.unclear)
        elsewhere = [other.place] if other.place != here.place else []
        said = tuple(text for text in other.captions if any(word in text for word in (*strange, *elsewhere)))
    if not said:
        return None
    text = pick(rng, said)
    return Ask(("suits", text), f'Does the caption "{text}" suit {{image}}?', answer)


def _false_phrases(rng: random.Random, here: About, other: About | None) -> tuple[str, ...]:
    """Phrases that are false here: one of the other image, or a true one with another colour."""
    if other is not None and rng.random() < 0.6:
        missing = tuple(phrase for phrase in other.phrases if phrase not in here.phrases)
        if missing and not (other.present & here.unclear):
            return missing
    changed = []
    for phrase in here.phrases:
        color = next((word for word in phrase.split() if word in words.COLORS), None)
        if color is None:
            continue
        wrong = pick(rng, [word for word in words.COLORS if word != color])
        parts = [wrong if word == color else word for word in phrase.split()]
        if parts[0] in ("a", "an"):
            parts[0] = words.article(" ".join(parts[1:]))
        if (text := " ".join(parts)) not in here.phrases:
            changed.append(text)
    return tuple(changed)


def asked_of(rng: random.Random, question: str, image: str) -> str:
    """The question asked of an image: "the picture", or "image 2", which it must then name."""
    if "{image}" in question:
        return question.replace("{image}", image)
    if image == "the picture":
        return question if rng.random() < 0.7 else f"{question[:-1]} in the picture?"
    if "in the picture" in question:
        return question.replace("in the picture", f"in {image}")
    if rng.random() < 0.5:
        return f"In {image}, {question[:1].lower()}{question[1:]}"
    return f"{question[:-1]} in {image}?"
