"""Writes the dense caption: a few sentences that describe a scene in detail, as an annotator would."""

from __future__ import annotations

import itertools

from scenes.language.phrases import (
    Phrase,
    TextContext,
    Unit,
    doing,
    features,
    light,
    mention,
    place,
    relation,
    view,
    with_part,
)
from scenes.world import words
from scenes.world.actions import acts, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.entities import PEOPLE
from scenes.world.facts import Fact
from scenes.world.geometry import FAR, NEAR, larger, zone
from scenes.world.seeded_random import pick

LENGTH = 36  # intended words; about as many as DCI annotations summarized to CLIP's 77 tokens have
_SIDES = {
    "left": ("on the left side of the picture", "in the left part of the image", "on the left"),
    "right": ("on the right side of the picture", "in the right part of the image", "on the right"),
    "middle": ("in the middle of the picture", "in the center of the image", "near the center of the picture"),
}
_DEPTHS = {"near": ("in the foreground", "close to the viewer"), "far": ("in the background", "in the distance")}
_LIGHTS = {
    "day": "daylight",
    "dusk": "the light of dusk",
    "night": "the darkness of night",
    "overcast": "the light of a gray sky",
}


def dense_caption(ctx: TextContext) -> Phrase:
    """Sentences up to about LENGTH words, and the facts that they state."""
    opening = _opening(ctx)
    sentences, facts = [opening[0]], list(opening[1])
    length = len(opening[0].split())
    for said in _details(ctx):
        count = len(said[0].split())
        if length + count > LENGTH + 6:
            continue
        sentences.append(said[0])
        facts += said[1]
        length += count
        if length >= LENGTH - 2:
            break
    return " ".join(map(words.sentence, sentences)), facts


def _opening(ctx: TextContext) -> Phrase:
    where = place(ctx)
    if not ctx.units:
        return f"the picture shows a scene {where[0]}", where[1]
    said = [mention(ctx, unit, 2 if len(ctx.units) < 3 else 1) for unit in ctx.units]
    subject = pick(ctx.rng, ("the picture shows", "the image shows", "this photo shows", "the photograph shows"))
    text = f"{subject} {words.listed([text for text, _ in said])} {where[0]}"
    return text, [fact for _, facts in said for fact in facts] + where[1]


def _definite(ctx: TextContext, i: int) -> Phrase:
    """A later mention of an object: "the dog", or "one of the balls"."""
    kind, unit = ctx.kinds[i], ctx.unit_of(i)
    text = f"the {kind.name}" if len(unit) == 1 else f"one of the {kind.plural}"
    return text, [("object", i, kind.name)]


def _details(ctx: TextContext) -> list[Phrase]:
    """Further sentences, the most informative first."""
    found: list[Phrase] = []
    for unit in ctx.units:
        found += _activity(ctx, unit)
    for unit in ctx.units:
        found += _position(ctx, unit[0]) if len(unit) == 1 else _members(ctx, unit)
    found += _relations(ctx)
    found += _conditions(ctx)
    for unit in ctx.units:
        found += _particulars(ctx, unit)
    return found


def _activity(ctx: TextContext, unit: Unit) -> list[Phrase]:
    i = unit[0]
    thing = ctx.scene.objects[i]
    target = thing.target if len(unit) == 1 and thing.target in ctx.seen else None
    verb = verb_of(thing)
    if target is not None and verb is not None:
        (first, stated), (second, more) = _definite(ctx, i), _definite(ctx, target)
        return [(f"{first} is {verb} {second}", [*stated, *more, ("action", i, verb, target)])]
    action = doing(ctx, unit)
    if action is None:
        return []
    subject = f"the {ctx.kinds[i].plural} are" if len(unit) > 1 else f"the {ctx.kinds[i].name} is"
    facing: list[Fact] = []
    text = f"{subject} {action[0]}"
    if len({ctx.scene.objects[k].facing for k in unit}) == 1 and ctx.rng.random() < 0.6:
        text += f" and {'face' if len(unit) > 1 else 'faces'} to the {thing.facing}"
        facing = [("facing", k, thing.facing) for k in unit]
    return [(text, [*action[1], *facing])]


def _position(ctx: TextContext, i: int) -> list[Phrase]:
    thing = ctx.scene.objects[i]
    text, facts = _definite(ctx, i)
    side = zone(thing)
    if not side:
        return []
    text = f"{text} is {pick(ctx.rng, _SIDES[side])}"
    facts = [*facts, ("zone", i, side)]
    depth = "near" if thing.depth < NEAR else "far" if thing.depth > FAR else ""
    if depth:
        text += f", {pick(ctx.rng, _DEPTHS[depth])}"
        facts.append((depth, i))
    return [(text, facts)]


def _members(ctx: TextContext, unit: Unit) -> list[Phrase]:
    """Differences among the objects of a unit: side, colour, pose and relations."""
    kind = ctx.kinds[unit[0]]
    found: list[Phrase] = []
    sides = [(i, side) for i in unit if (side := zone(ctx.scene.objects[i]))]
    if sides:
        text = " and ".join(
            f"{'one' if n == 0 else 'another'} is {_SIDES[side][-1]}" for n, (_, side) in enumerate(sides)
        )
        own: list[Fact] = [("object", i, kind.name) for i, _ in sides]
        found.append((f"of the {kind.plural}, {text}", [*own, *(("zone", i, side) for i, side in sides)]))
    single = [features(ctx, (i,)).get("color", ("",))[0] for i in unit]
    if len(set(single)) > 1 and all(single):
        text = words.listed([f"one is {color}" for color in single])
        facts: list[Fact] = [("color", i, color) for i, color in zip(unit, single, strict=True)]
        found.append((f"of the {kind.plural}, {text}", facts))
    if acts(kind) and len({ctx.scene.objects[i].pose for i in unit}) > 1:
        text = words.listed([f"one is {ctx.scene.objects[i].pose}" for i in unit])
        found.append((f"of the {kind.plural}, {text}", [("pose", i, ctx.scene.objects[i].pose) for i in unit]))
    for i, j in itertools.pairwise(unit):
        between = relation(ctx, i, j)
        if between is not None:
            one = f"one of the {kind.plural} is {between[0]} another one"
            found.append((one, [*between[1], ("object", i, kind.name), ("object", j, kind.name)]))
            break
    return found


def _relations(ctx: TextContext) -> list[Phrase]:
    found: list[Phrase] = []
    for i, j in itertools.pairwise(ctx.seen):
        (first, stated), (second, more) = _definite(ctx, i), _definite(ctx, j)
        if ctx.scene.objects[i].type == ctx.scene.objects[j].type:
            continue
        between = relation(ctx, i, j)
        if between is not None:
            found.append((f"{first} is {between[0]} {second}", [*stated, *more, *between[1]]))
        if larger(ctx.scene, i, j):
            found.append((f"{first} looks larger than {second}", [*stated, *more, ("larger", i, j)]))
        elif larger(ctx.scene, j, i):
            found.append((f"{first} looks smaller than {second}", [*stated, *more, ("larger", j, i)]))
    return found


def _conditions(ctx: TextContext) -> list[Phrase]:
    found: list[Phrase] = []
    seen_from = view(ctx)
    if light(ctx) is not None:
        facts: list[Fact] = [("light", ctx.scene.light)]
        text = f"the whole scene lies in {_LIGHTS[ctx.scene.light]}"
        if seen_from is not None:
            text, facts = f"{text}, {seen_from[0]}", facts + seen_from[1]
        found.append((text, facts))
    elif seen_from is not None:
        how = seen_from[0].removeprefix("seen ")
        found.append((f"the room is seen {how}", [*seen_from[1], ("indoors", True)]))
    else:
        indoor = load_catalog().places[ctx.scene.place].indoor
        found.append((f"the picture was taken {'indoors' if indoor else 'outdoors'}", [("indoors", indoor)]))
    return found


def _particulars(ctx: TextContext, unit: Unit) -> list[Phrase]:
    """Surface, feature part, shape and colour, one sentence each."""
    kind = ctx.kinds[unit[0]]
    known = features(ctx, unit)
    own: list[Fact] = [("object", i, kind.name) for i in unit]
    subject, verb, has = (f"the {kind.plural}", "are", "have") if len(unit) > 1 else (f"the {kind.name}", "is", "has")
    found: list[Phrase] = []
    if "texture" in known:
        word = known["texture"][0]
        text = f"the surface of {subject} is {word}" if len(unit) == 1 else f"{subject} have {word} surfaces"
        found.append((text, [*own, *(("texture", i, word) for i in unit)]))
    if "part" in known:
        word = known["part"][0]
        facts = [*own, *(("part", i, word) for i in unit)]
        found.append((f"{subject} {has} {with_part(kind.part, word)}", facts))
    if "shape" in known:
        word = known["shape"][0]
        found.append((f"{subject} {verb} {word} in shape", [*own, *(("shape", i, word) for i in unit)]))
    color = known.get("color")
    if color is not None:
        facts = [*own, *(("color", i, color[0]) for i in unit)]
        thing = f"the clothes of {subject} are" if kind.path[0] in PEOPLE else f"the main color of {subject} is"
        found.append((f"{thing} {color[0]}", facts))
    return found
