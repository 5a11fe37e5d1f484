"""Asks questions about a scene, with true answers as short texts and as full sentences."""

from __future__ import annotations

from typing import NamedTuple

from scenes.language.phrases import TextContext, features, place, relation, text_context
from scenes.world import words
from scenes.world.actions import acts, is_activity, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.entities import PEOPLE
from scenes.world.facts import Fact, Facts, is_a
from scenes.world.geometry import larger
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick, shuffled

KINDS = ("existence", "count", "color", "place", "action", "relation", "size", "material")


class Question(NamedTuple):
    """A question with its answer."""

    question: str
    answer: str  # short, or the sentence
    kind: str  # one of KINDS
    sentence: str  # the answer as a sentence
    facts: Facts  # facts that the sentence states


def questions(scene: Scene, seed: object = 0) -> list[Question]:
    """All questions with a clear answer, in random order; about half of the answers are sentences."""
    ctx = text_context(scene, "questions", seed)
    found = [
        *_existence(ctx),
        *_count(ctx),
        *_place(ctx),
        *_color(ctx),
        *_material(ctx),
        *_action(ctx),
        *_relation(ctx),
    ]
    found += _size(ctx)
    said = []
    for text, short, kind, sentence, facts in shuffled(ctx.rng, found):
        answer = words.sentence(sentence) if ctx.rng.random() < 0.5 else short
        said.append(Question(text, answer, kind, words.sentence(sentence), tuple(facts)))
    return said


_Draft = tuple[str, str, str, str, list[Fact]]  # question, short answer, kind, sentence, facts


def _existence(ctx: TextContext) -> list[_Draft]:
    types = load_catalog().types
    found: list[_Draft] = []
    for unit in ctx.units[:2]:
        name = ctx.kinds[unit[0]].name
        thing = words.indefinite(name)
        facts: list[Fact] = [("object", unit[0], name)]
        found.append((f"Is there {thing} in the picture?", "yes", "existence", f"yes, there is {thing}", facts))
    present = {name for kind in ctx.kinds for name in (kind.name, *kind.path, *kind.synonyms)}
    # Not "boat" in a scene with a sailboat: the answer would be debatable.
    absent = [
        name
        for name in sorted(types)
        if not present & {name, *types[name].synonyms}
        and not shown_by_background(ctx.scene.place, name)
        and not any(name in here or here in name for here in present)
    ]
    if absent:
        name = pick(ctx.rng, absent)
        thing = words.indefinite(name)
        found.append(
            (f"Is there {thing} in the picture?", "no", "existence", f"no, there is no {name}", [("absent", name)])
        )
    return found


def _count(ctx: TextContext) -> list[_Draft]:
    # A hidden object would make the answer debatable.
    if len(ctx.seen) < len(ctx.scene.objects):
        return []
    found: list[_Draft] = []
    for unit in ctx.units:
        kind, n = ctx.kinds[unit[0]], len(unit)
        if shown_by_background(ctx.scene.place, kind.name):
            continue
        number = words.NUMBERS[n]
        sentence = f"there {'is' if n == 1 else 'are'} {number} {kind.name if n == 1 else kind.plural}"
        found.append((f"How many {kind.plural} are there?", number, "count", sentence, [("count", kind.name, n)]))
    return found


def _place(ctx: TextContext) -> list[_Draft]:
    where, facts = place(ctx)
    found: list[_Draft] = [("Where is this?", where, "place", f"this is {where}", facts)]
    indoor = load_catalog().places[ctx.scene.place].indoor
    answer = "indoors" if indoor else "outdoors"
    found.append(("Is this indoors or outdoors?", answer, "place", f"this was taken {answer}", [("indoors", indoor)]))
    return found


def _color(ctx: TextContext) -> list[_Draft]:
    found: list[_Draft] = []
    for unit in ctx.units:
        color = features(ctx, unit).get("color")
        if color is None:
            continue
        kind, many = ctx.kinds[unit[0]], len(unit) > 1
        name, verb = (kind.plural, "are") if many else (kind.name, "is")
        question, sentence = f"What color {verb} the {name}?", f"the {name} {verb} {color[0]}"
        if kind.path[0] in PEOPLE:
            question, sentence = f"What color {verb} the {name} wearing?", f"the {name} {verb} wearing {color[0]}"
        found.append((question, color[0], "color", sentence, [("color", i, color[0]) for i in unit]))
    return found


def _material(ctx: TextContext) -> list[_Draft]:
    found: list[_Draft] = []
    for unit in ctx.units:
        if len(unit) > 1 or (texture := features(ctx, unit).get("texture")) is None:
            continue
        name, i = ctx.kinds[unit[0]].name, unit[0]
        sentence = f"the surface of the {name} is {texture[0]}"
        facts: list[Fact] = [("texture", i, texture[0])]
        found.append((f"What is the surface of the {name} like?", texture[0], "material", sentence, facts))
    return found


def _action(ctx: TextContext) -> list[_Draft]:
    found: list[_Draft] = []
    facts: list[Fact]
    for unit in ctx.units:
        i, kind = unit[0], ctx.kinds[unit[0]]
        thing = ctx.scene.objects[i]
        if len(unit) > 1 or not acts(kind) or not is_activity(thing.pose):
            continue
        verb, target = verb_of(thing), thing.target
        if verb is not None and target is not None and target in ctx.seen and len(ctx.unit_of(target)) == 1:
            doing, facts = f"{verb} the {ctx.kinds[target].name}", [("action", i, verb, target)]
            asked = f"What is the {kind.name} {verb}?"
            found.append((asked, f"the {ctx.kinds[target].name}", "action", f"the {kind.name} is {doing}", list(facts)))
        else:
            doing, facts = thing.pose, [("pose", i, thing.pose)]
        question = f"What is the {kind.name} doing?"
        found.append((question, doing, "action", f"the {kind.name} is {doing}", list(facts)))
    return found


def _pairs(ctx: TextContext) -> list[tuple[int, int]]:
    """Pairs of objects that nouns such as "the dog" and "the ball" identify."""
    alone = [unit[0] for unit in ctx.units if len(unit) == 1]
    return [(i, j) for i in alone for j in alone if i != j and not is_a(ctx.kinds[i].name, ctx.kinds[j].name)]


def _relation(ctx: TextContext) -> list[_Draft]:
    found: list[_Draft] = []
    for i, j in shuffled(ctx.rng, _pairs(ctx))[:2]:
        between = relation(ctx, i, j)
        if between is None:
            continue
        a, b = ctx.kinds[i].name, ctx.kinds[j].name
        short = f"{between[0]} the {b}"
        found.append(
            (f"Where is the {a} relative to the {b}?", short, "relation", f"the {a} is {short}", list(between[1]))
        )
    return found


def _size(ctx: TextContext) -> list[_Draft]:
    found: list[_Draft] = []
    for i, j in _pairs(ctx):
        if larger(ctx.scene, i, j):
            a, b = ctx.kinds[i].name, ctx.kinds[j].name
            first, second = (a, b) if ctx.rng.random() < 0.5 else (b, a)
            sentence = f"the {a} looks larger than the {b}"
            question = f"Which looks larger, the {first} or the {second}?"
            found.append((question, f"the {a}", "size", sentence, [("larger", i, j)]))
    return found
