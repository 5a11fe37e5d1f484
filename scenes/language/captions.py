"""Writes the captions of a scene: an alt text as on the web, five clean ones, a dense one, a phrase for each object.

Clean texts come with the facts that they state (`facts.py`), so that their truth can be checked. The alt text may be
partial, wrong or off-topic, at the rates of `alt_text.RATES`.
Run as: python -m scenes.language.captions corpus 7
"""

from __future__ import annotations

import dataclasses
import sys

from scenes.language.alt_text import alt_text
from scenes.language.dense import dense_caption
from scenes.language.phrases import (
    Phrase,
    TextContext,
    Unit,
    doing,
    light,
    mention,
    noun,
    place,
    relation,
    text_context,
    view,
)
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
    """All captions of a scene. Each `*_facts` has the facts that the text at the same position states."""

    alt: str
    alt_kind: str  # clean, partial, wrong or off_topic
    alt_facts: Facts  # facts of a clean or partial alt text; () for the others
    clean: tuple[str, ...]  # CLEAN different true texts, in order of length
    clean_facts: tuple[Facts, ...]
    dense: str  # several sentences, about 36 words
    dense_facts: Facts
    regions: tuple[str, ...]  # regions[i] describes scene.objects[i]; "" when it cannot be seen
    region_facts: tuple[Facts, ...]


def captions(scene: Scene, seed: object = 0) -> Captions:
    """The captions of a scene; another seed gives other words."""
    ctx = text_context(scene, seed)
    alt, kind, alt_facts = alt_text(ctx)
    clean = clean_captions(ctx)
    dense, dense_facts = dense_caption(ctx)
    regions = [region(ctx, i) if i in ctx.seen else ("", []) for i in range(len(scene.objects))]
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


def clean_captions(ctx: TextContext) -> list[Phrase]:
    """CLEAN different true captions, in order of length."""
    found: dict[str, list[Fact]] = {}
    styles = (_short, _attributes, _active, _spatial, _full)
    for style in styles:
        for _ in range(4):
            text, facts = style(ctx)
            if text not in found:
                found[text] = facts
                break
    while len(found) < CLEAN:  # a single plain object: other openings and numbers of adjectives
        text, facts = _full(ctx, plain=len(found) % 2 == 0)
        opened = text.startswith((*_STARTS, "there are"))
        found.setdefault(text if opened else _opened(ctx, text, 1.0), facts)
    finished = [(_finished(ctx, text), facts) for text, facts in found.items()]
    return sorted(finished, key=lambda said: len(said[0]))


def _finished(ctx: TextContext, text: str) -> str:
    return words.sentence(text) if ctx.rng.random() < _SENTENCES else text


def _opened(ctx: TextContext, text: str, share: float) -> str:
    """The text, with probability `share` after an opening such as "a photo of"."""
    if ctx.rng.random() >= share:
        return text
    start = pick(ctx.rng, _STARTS)
    several = text.split(" ", 1)[0] in words.NUMBERS
    if start in ("this is", "there is") and (several or " and " in text):
        start = "there are" if several else "a photo of"
    return f"{start} {text}"


def _units(ctx: TextContext, most: int) -> list[Unit]:
    """Up to `most` units in random order; with probability 0.7, units that act come first."""
    units = shuffled(ctx.rng, ctx.units)
    if ctx.rng.random() < 0.7:
        units.sort(key=lambda unit: ctx.scene.objects[unit[0]].target is None)
    return units[:most]


def _where_when(ctx: TextContext, place_share: float, light_share: float, view_share: float) -> Phrase:
    """Phrases for place, light and view, each with its probability; the text is "" or begins with a space."""
    text, facts = "", []
    for share, phrase in ((place_share, place), (light_share, light), (view_share, view)):
        if ctx.rng.random() < share and (said := phrase(ctx)) is not None:
            comma = "," if phrase is view else ""
            text += f"{comma} {said[0]}"
            facts += said[1]
    return text, facts


def _nothing(ctx: TextContext) -> Phrase:
    """A caption for a scene without seen objects: the place only."""
    text, facts = place(ctx)
    return f"a scene {text}", facts


def _short(ctx: TextContext) -> Phrase:
    """Nouns without adjectives: "a dog and two balls"."""
    if not ctx.units:
        return _nothing(ctx)
    said = [mention(ctx, unit, 0, _GENERAL) for unit in _units(ctx, 3 if ctx.rng.random() < 0.6 else 1)]
    text = words.listed([text for text, _ in said])
    facts = [fact for _, facts in said for fact in facts]
    where = _where_when(ctx, 0.25, 0.0, 0.0)
    return _opened(ctx, text + where[0], 0.4), facts + where[1]


def _attributes(ctx: TextContext) -> Phrase:
    """One unit with adjectives, and the place: "a small brown dog in a meadow"."""
    if not ctx.units:
        return _nothing(ctx)
    text, facts = mention(ctx, pick(ctx.rng, ctx.units), 1 + (ctx.rng.random() < 0.6), _GENERAL)
    where = _where_when(ctx, 0.55, 0.15, 0.0)
    return _opened(ctx, text + where[0], 0.35), facts + where[1]


def _active(ctx: TextContext) -> Phrase:
    """An action as a participle or a clause: "a brown dog is chasing a red ball"."""
    for unit in _units(ctx, len(ctx.units)):
        action = doing(ctx, unit, int(ctx.rng.random() * 2), _GENERAL)
        if action is None:
            continue
        text, facts = mention(ctx, unit, int(ctx.rng.random() * 2), _GENERAL, name=_NAMED)
        verb = ""
        if ctx.rng.random() < 0.5:
            verb = "are " if len(unit) > 1 else "is "
        where = _where_when(ctx, 0.4, 0.2, 0.0)
        text = f"{text} {verb}{action[0]}{where[0]}"
        return (text if verb else _opened(ctx, text, 0.3)), facts + action[1] + where[1]
    return _full(ctx)


def _spatial(ctx: TextContext) -> Phrase:
    """A relation of two objects: "a cat to the left of a large tree"."""
    pairs = [(i, j) for i in ctx.seen for j in ctx.seen if ctx.scene.objects[i].type != ctx.scene.objects[j].type]
    for i, j in shuffled(ctx.rng, pairs)[:3]:
        between = relation(ctx, i, j)
        if between is None:
            continue
        first, first_facts = mention(ctx, (i,), int(ctx.rng.random() * 2), _GENERAL, name=_NAMED / 2)
        second, second_facts = mention(ctx, (j,), int(ctx.rng.random() * 2))
        where = _where_when(ctx, 0.3, 0.1, 0.0)
        verb = "is " if ctx.rng.random() < 0.4 else ""
        text = f"{first} {verb}{between[0]} {second}{where[0]}"
        text = text if verb else _opened(ctx, text, 0.25)
        return text, first_facts + second_facts + between[1] + where[1]
    return _full(ctx)


def _full(ctx: TextContext, plain: bool = False) -> Phrase:
    """Units with adjectives and actions, and place, light and view."""
    if not ctx.units:
        return _nothing(ctx)
    parts: list[str] = []
    facts: list[Fact] = []
    done: set[int] = set()
    for unit in _units(ctx, 3):
        if done & set(unit):
            continue
        text, stated = mention(ctx, unit, 1 if plain else 1 + (ctx.rng.random() < 0.5), name=_NAMED)
        action = doing(ctx, unit, 1, known=frozenset(done)) if ctx.rng.random() < 0.75 else None
        if action is not None:
            text = f"{text} {action[0]}"
            stated = stated + action[1]
            target = ctx.scene.objects[unit[0]].target
            # A single target is not mentioned again ("a dog chasing a ball and a ball"); a target in a group is.
            if len(unit) == 1 and target is not None and target in ctx.seen:
                done |= set(ctx.unit_of(target)) if len(ctx.unit_of(target)) == 1 else set()
        parts.append(text.rstrip(",") if text.endswith(",") else text)
        facts += stated
        done |= set(unit)
    where = _where_when(ctx, 0.9, 0.45, 0.5)
    return _opened(ctx, words.listed(parts) + where[0], 0.2), facts + where[1]


def region(ctx: TextContext, i: int) -> Phrase:
    """A phrase for one object with attributes, side or action: "small red ball on the left"."""
    text, facts = noun(ctx, (i,), 2, plain=ctx.rng.random() < 0.5)
    thing = ctx.scene.objects[i]
    if thing.entity is not None and ctx.rng.random() < _NAMED:
        return f"{thing.entity} the {text}", [*facts, ("entity", i, thing.entity)]
    roll = ctx.rng.random()
    if roll < 0.35 and (side := _SIDES.get(zone(thing))):
        return f"{text} {side}", [*facts, ("zone", i, zone(thing))]
    if roll < 0.7 and (action := doing(ctx, (i,), 0)) is not None:
        return f"{text} {action[0]}", facts + action[1]
    return text, facts


if __name__ == "__main__":
    from scenes.world.sample import sample

    said = captions(sample(sys.argv[1], int(sys.argv[2])))
    print(f"[{said.alt_kind}] {said.alt}", *said.clean, said.dense, *said.regions, sep="\n")
