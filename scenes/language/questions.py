"""Questions about a scene with true answers, short and as full sentences. Knows nothing about captions."""

from __future__ import annotations

from typing import NamedTuple

from scenes.language.phrases import Speaker, features, place, relation, speaker
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
    """A question with its answer (short or a sentence), kind (of KINDS), the answer as a sentence, and facts."""

    question: str
    answer: str
    kind: str
    sentence: str
    facts: Facts


def questions(scene: Scene, seed: object = 0) -> list[Question]:
    """All questions that the scene answers clearly, in random order; half of the answers are full sentences."""
    who = speaker(scene, "questions", seed)
    found = [
        *_existence(who),
        *_count(who),
        *_place(who),
        *_color(who),
        *_material(who),
        *_action(who),
        *_relation(who),
    ]
    found += _size(who)
    said = []
    for text, short, kind, sentence, facts in shuffled(who.rng, found):
        answer = words.sentence(sentence) if who.rng.random() < 0.5 else short
        said.append(Question(text, answer, kind, words.sentence(sentence), tuple(facts)))
    return said


_Draft = tuple[str, str, str, str, list[Fact]]  # question, short answer, kind, sentence, facts


def _existence(who: Speaker) -> list[_Draft]:
    types = load_catalog().types
    found: list[_Draft] = []
    for unit in who.units[:2]:
        name = who.kinds[unit[0]].name
        thing = words.indefinite(name)
        facts: list[Fact] = [("object", unit[0], name)]
        found.append((f"Is there {thing} in the picture?", "yes", "existence", f"yes, there is {thing}", facts))
    present = {name for kind in who.kinds for name in (kind.name, *kind.path, *kind.synonyms)}
    # "boat" is not asked about beside a sailboat: whether one is there would be debatable.
    absent = [
        name
        for name in sorted(types)
        if not present & {name, *types[name].synonyms}
        and not shown_by_background(who.scene.place, name)
        and not any(name in here or here in name for here in present)
    ]
    if absent:
        name = pick(who.rng, absent)
        thing = words.indefinite(name)
        found.append(
            (f"Is there {thing} in the picture?", "no", "existence", f"no, there is no {name}", [("absent", name)])
        )
    return found


def _count(who: Speaker) -> list[_Draft]:
    # A hidden one would make the answer debatable.
    if len(who.seen) < len(who.scene.objects):
        return []
    found: list[_Draft] = []
    for unit in who.units:
        kind, n = who.kinds[unit[0]], len(unit)
        if shown_by_background(who.scene.place, kind.name):
            continue
        number = words.NUMBERS[n]
        sentence = f"there {'is' if n == 1 else 'are'} {number} {kind.name if n == 1 else kind.plural}"
        found.append((f"How many {kind.plural} are there?", number, "count", sentence, [("count", kind.name, n)]))
    return found


def _place(who: Speaker) -> list[_Draft]:
    where, facts = place(who)
    found: list[_Draft] = [("Where is this?", where, "place", f"this is {where}", facts)]
    indoor = load_catalog().places[who.scene.place].indoor
    answer = "indoors" if indoor else "outdoors"
    found.append(("Is this indoors or outdoors?", answer, "place", f"this was taken {answer}", [("indoors", indoor)]))
    return found


def _color(who: Speaker) -> list[_Draft]:
    found: list[_Draft] = []
    for unit in who.units:
        color = features(who, unit).get("color")
        if color is None:
            continue
        kind, many = who.kinds[unit[0]], len(unit) > 1
        name, verb = (kind.plural, "are") if many else (kind.name, "is")
        question, sentence = f"What color {verb} the {name}?", f"the {name} {verb} {color[0]}"
        if kind.path[0] in PEOPLE:
            question, sentence = f"What color {verb} the {name} wearing?", f"the {name} {verb} wearing {color[0]}"
        found.append((question, color[0], "color", sentence, [("color", i, color[0]) for i in unit]))
    return found


def _material(who: Speaker) -> list[_Draft]:
    found: list[_Draft] = []
    for unit in who.units:
        if len(unit) > 1 or (texture := features(who, unit).get("texture")) is None:
            continue
        name, i = who.kinds[unit[0]].name, unit[0]
        sentence = f"the surface of the {name} is {texture[0]}"
        facts: list[Fact] = [("texture", i, texture[0])]
        found.append((f"What is the surface of the {name} like?", texture[0], "material", sentence, facts))
    return found


def _action(who: Speaker) -> list[_Draft]:
    found: list[_Draft] = []
    facts: list[Fact]
    for unit in who.units:
        i, kind = unit[0], who.kinds[unit[0]]
        thing = who.scene.objects[i]
        if len(unit) > 1 or not acts(kind) or not is_activity(thing.pose):
            continue
        verb, target = verb_of(thing), thing.target
        if verb is not None and target is not None and target in who.seen and len(who.unit_of(target)) == 1:
            doing, facts = f"{verb} the {who.kinds[target].name}", [("action", i, verb, target)]
            asked = f"What is the {kind.name} {verb}?"
            found.append((asked, f"the {who.kinds[target].name}", "action", f"the {kind.name} is {doing}", list(facts)))
        else:
            doing, facts = thing.pose, [("pose", i, thing.pose)]
        question = f"What is the {kind.name} doing?"
        found.append((question, doing, "action", f"the {kind.name} is {doing}", list(facts)))
    return found


def _pairs(who: Speaker) -> list[tuple[int, int]]:
    """Pairs of objects that "the dog" and "the ball" name without doubt."""
    alone = [unit[0] for unit in who.units if len(unit) == 1]
    return [(i, j) for i in alone for j in alone if i != j and not is_a(who.kinds[i].name, who.kinds[j].name)]


def _relation(who: Speaker) -> list[_Draft]:
    found: list[_Draft] = []
    for i, j in shuffled(who.rng, _pairs(who))[:2]:
        between = relation(who, i, j)
        if between is None:
            continue
        a, b = who.kinds[i].name, who.kinds[j].name
        short = f"{between[0]} the {b}"
        found.append(
            (f"Where is the {a} relative to the {b}?", short, "relation", f"the {a} is {short}", list(between[1]))
        )
    return found


def _size(who: Speaker) -> list[_Draft]:
    found: list[_Draft] = []
    for i, j in _pairs(who):
        if larger(who.scene, i, j):
            a, b = who.kinds[i].name, who.kinds[j].name
            first, second = (a, b) if who.rng.random() < 0.5 else (b, a)
            sentence = f"the {a} looks larger than the {b}"
            question = f"Which looks larger, the {first} or the {second}?"
            found.append((question, f"the {a}", "size", sentence, [("larger", i, j)]))
    return found
