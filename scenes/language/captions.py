"""What can be written under a scene: one text like the web's, five clean captions, a dense one, a phrase per object.

Everything clean carries the facts it states (`facts.py`), so that its truth can be checked. The web-like alt text is
partial, wrong or off-topic at the rates of `alt_text.RATES`. Knows nothing about pixels.
Run as: python -m scenes.language.captions corpus 7
"""

from __future__ import annotations

import dataclasses
import sys

from scenes.language.alt_text import alt_text
from scenes.language.dense import dense_caption
from scenes.language.phrases import Said, Speaker, Unit, doing, light, mention, noun, place, relation, speaker, view
from scenes.world import words
from scenes.world.facts import Fact, Facts
from scenes.world.geometry import zone
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick, shuffled

CLEAN = 5  # captions a scene
_STARTS = (
    "a photo of", "a picture of", "an image of", "a photograph of", "this is", "there is", "a view of", "a snapshot of",
)  # fmt: skip
_SIDES = {"left": "on the left", "right": "on the right", "middle": "in the middle"}
_GENERAL = 0.07  # share of nouns that are a category: "an animal"
_NAMED = 0.4  # share of mentions of a named individual that give its name
_SENTENCES = 0.5  # share of clean captions written as a sentence with capital and full stop


@dataclasses.dataclass(frozen=True)
class Captions:
    """All texts of a scene. Each `*_facts` says what the text of the same position states."""

    alt: str
    alt_kind: str  # clean, partial, wrong or off_topic
    alt_facts: Facts  # what a clean or partial alt text states; () for the others
    clean: tuple[str, ...]  # CLEAN different texts, short to long, all true
    clean_facts: tuple[Facts, ...]
    dense: str  # several sentences, about 36 words
    dense_facts: Facts
    regions: tuple[str, ...]  # regions[i] describes scene.objects[i]; "" when it cannot be seen
    region_facts: tuple[Facts, ...]


def captions(scene: Scene, seed: object = 0) -> Captions:
    """The texts of a scene; another seed words them differently."""
    who = speaker(scene, seed)
    alt, kind, alt_facts = alt_text(who)
    clean = clean_captions(who)
    dense, dense_facts = dense_caption(who)
    regions = [region(who, i) if i in who.seen else ("", []) for i in range(len(scene.objects))]
    return Captions(
        alt,
        kind,
        tuple(alt_facts),
        tuple(text for text, _ in clean),
        tuple(tuple(facts) for _, facts in clean),
        dense,
        tuple(dense_facts),
        tuple(text for text, _ in regions),
        tuple(tuple(facts) for _, facts in regions),
    )


def clean_captions(who: Speaker) -> list[Said]:
    """CLEAN true captions of different texts, in the order of their length."""
    found: dict[str, list[Fact]] = {}
    styles = (_short, _attributes, _active, _spatial, _full)
    for style in styles:
        for _ in range(4):
            text, facts = style(who)
            if text not in found:
                found[text] = facts
                break
    while len(found) < CLEAN:  # a lone plain thing: other openings, then other numbers of adjectives
        text, facts = _full(who, plain=len(found) % 2 == 0)
        opened = text.startswith((*_STARTS, "there are"))
        found.setdefault(text if opened else _opened(who, text, 1.0), facts)
    finished = [(_finished(who, text), facts) for text, facts in found.items()]
    return sorted(finished, key=lambda said: len(said[0]))


def _finished(who: Speaker, text: str) -> str:
    return words.sentence(text) if who.rng.random() < _SENTENCES else text


def _opened(who: Speaker, text: str, share: float) -> str:
    """The text behind an opening such as "a photo of"."""
    if who.rng.random() >= share:
        return text
    start = pick(who.rng, _STARTS)
    several = text.split(" ", 1)[0] in words.NUMBERS
    if start in ("this is", "there is") and (several or " and " in text):
        start = "there are" if several else "a photo of"
    return f"{start} {text}"


def _units(who: Speaker, most: int) -> list[Unit]:
    """Up to `most` units in random order; what acts comes first more often than not."""
    units = shuffled(who.rng, who.units)
    if who.rng.random() < 0.7:
        units.sort(key=lambda unit: who.scene.objects[unit[0]].target is None)
    return units[:most]


def _where_when(who: Speaker, place_share: float, light_share: float, view_share: float) -> Said:
    """Prepositional phrases on place, light and view, each with its probability; begins with a space unless empty."""
    text, facts = "", []
    for share, phrase in ((place_share, place), (light_share, light), (view_share, view)):
        if who.rng.random() < share and (said := phrase(who)) is not None:
            comma = "," if phrase is view else ""
            text += f"{comma} {said[0]}"
            facts += said[1]
    return text, facts


def _nothing(who: Speaker) -> Said:
    """For a scene where no object can be seen well: the place alone."""
    text, facts = place(who)
    return f"a scene {text}", facts


def _short(who: Speaker) -> Said:
    """The bare nouns: "a dog and two balls"."""
    if not who.units:
        return _nothing(who)
    said = [mention(who, unit, 0, _GENERAL) for unit in _units(who, 3 if who.rng.random() < 0.6 else 1)]
    text = words.listed([text for text, _ in said])
    facts = [fact for _, facts in said for fact in facts]
    where = _where_when(who, 0.25, 0.0, 0.0)
    return _opened(who, text + where[0], 0.4), facts + where[1]


def _attributes(who: Speaker) -> Said:
    """One thing with adjectives, and where it is: "a small brown dog in a meadow"."""
    if not who.units:
        return _nothing(who)
    text, facts = mention(who, pick(who.rng, who.units), 1 + (who.rng.random() < 0.6), _GENERAL)
    where = _where_when(who, 0.55, 0.15, 0.0)
    return _opened(who, text + where[0], 0.35), facts + where[1]


def _active(who: Speaker) -> Said:
    """What somebody does, as a participle or a clause: "a brown dog is chasing a red ball"."""
    for unit in _units(who, len(who.units)):
        action = doing(who, unit, int(who.rng.random() * 2), _GENERAL)
        if action is None:
            continue
        text, facts = mention(who, unit, int(who.rng.random() * 2), _GENERAL, name=_NAMED)
        verb = ""
        if who.rng.random() < 0.5:
            verb = "are " if len(unit) > 1 else "is "
        where = _where_when(who, 0.4, 0.2, 0.0)
        text = f"{text} {verb}{action[0]}{where[0]}"
        return (text if verb else _opened(who, text, 0.3)), facts + action[1] + where[1]
    return _full(who)


def _spatial(who: Speaker) -> Said:
    """How two things stand to each other: "a cat to the left of a large tree"."""
    pairs = [(i, j) for i in who.seen for j in who.seen if who.scene.objects[i].type != who.scene.objects[j].type]
    for i, j in shuffled(who.rng, pairs)[:3]:
        between = relation(who, i, j)
        if between is None:
            continue
        first, first_facts = mention(who, (i,), int(who.rng.random() * 2), _GENERAL, name=_NAMED / 2)
        second, second_facts = mention(who, (j,), int(who.rng.random() * 2))
        where = _where_when(who, 0.3, 0.1, 0.0)
        verb = "is " if who.rng.random() < 0.4 else ""
        text = f"{first} {verb}{between[0]} {second}{where[0]}"
        text = text if verb else _opened(who, text, 0.25)
        return text, first_facts + second_facts + between[1] + where[1]
    return _full(who)


def _full(who: Speaker, plain: bool = False) -> Said:
    """Everything at once: things with adjectives, what they do, place, light and view."""
    if not who.units:
        return _nothing(who)
    parts: list[str] = []
    facts: list[Fact] = []
    done: set[int] = set()
    for unit in _units(who, 3):
        if done & set(unit):
            continue
        text, stated = mention(who, unit, 1 if plain else 1 + (who.rng.random() < 0.5), name=_NAMED)
        action = doing(who, unit, 1, known=frozenset(done)) if who.rng.random() < 0.75 else None
        if action is not None:
            text = f"{text} {action[0]}"
            stated = stated + action[1]
            target = who.scene.objects[unit[0]].target
            # "a dog chasing a ball and a ball" would be odd; two balls of which one is chased stay two balls.
            if len(unit) == 1 and target is not None and target in who.seen:
                done |= set(who.unit_of(target)) if len(who.unit_of(target)) == 1 else set()
        parts.append(text.rstrip(",") if text.endswith(",") else text)
        facts += stated
        done |= set(unit)
    where = _where_when(who, 0.9, 0.45, 0.5)
    return _opened(who, words.listed(parts) + where[0], 0.2), facts + where[1]


def region(who: Speaker, i: int) -> Said:
    """A phrase for one object that names it with what sets it apart: "small red ball on the left"."""
    text, facts = noun(who, (i,), 2, plain=who.rng.random() < 0.5)
    thing = who.scene.objects[i]
    if thing.entity is not None and who.rng.random() < _NAMED:
        return f"{thing.entity} the {text}", [*facts, ("entity", i, thing.entity)]
    roll = who.rng.random()
    if roll < 0.35 and (side := _SIDES.get(zone(thing))):
        return f"{text} {side}", [*facts, ("zone", i, zone(thing))]
    if roll < 0.7 and (action := doing(who, (i,), 0)) is not None:
        return f"{text} {action[0]}", facts + action[1]
    return text, facts


if __name__ == "__main__":
    from scenes.world.sample import sample

    said = captions(sample(sys.argv[1], int(sys.argv[2])))
    print(f"[{said.alt_kind}] {said.alt}", *said.clean, said.dense, *said.regions, sep="\n")
