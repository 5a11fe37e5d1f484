"""The statements of a text as tuples that can be checked against the truth of a scene.

    ("object", i, term)        object i is of a type or category        ("count", term, n)    exactly n of them are seen
    ("color", i, "red")        ("shade", i, "dark")                      ("size", i, "big")
    ("shape", i, "round")      ("texture", i, "glossy")                  ("part", i, "big")
    ("pose", i, "running")     ("action", i, "chasing", j)               ("facing", i, "left")
    ("place", "meadow")        ("light", "night")   ("view", "high")     ("entity", i, "Biscuit")
    ("zone", i, "left")        (one of geometry.RELATIONS, i, j)         ("larger", i, j)
    ("near", i)                ("far", i)                                ("indoors", True)     ("absent", term)

A count or an absence never holds for what the background may show. A fact about object i holds only if the object is
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from scenes.world import words
from scenes.world.actions import action_holds
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.geometry import (
    FAR,
    NEAR,
    RELATIONS,
    bends,
    footprint,
    larger,
    part_shows,
    relation_holds,
    relative_size,
    seen,
    zone,
)
from scenes.world.scene import Scene, SceneObject

Fact = tuple[Any, ...]
Facts = tuple[Fact, ...]


def is_a(type_name: str, term: str) -> bool:
    """Whether a type is the term or belongs to the category it names."""
    return type_name == term or term in load_catalog().types[type_name].path


def confusable(a: str, b: str) -> bool:
    """Whether the names of two different types overlap, as those of a ball and a basketball."""
    types = load_catalog().types
    if a == b:
        return False
    return is_a(a, b) or is_a(b, a) or a in types[b].synonyms or b in types[a].synonyms


def count(scene: Scene, term: str) -> int:
    """The number of seen objects of a type or category."""
    return sum(is_a(scene.objects[i].type, term) for i in seen(scene))


def shape_words_of(thing: SceneObject) -> tuple[str, ...]:
    """The shape words that describe an object; () for a type whose shape texts never describe."""
    if not load_catalog().types[thing.type].shape_words:
        return ()
    found = words.shape_words(thing.roundness, thing.elongation, footprint(thing.type, thing.pose)[2])
    if found and found[0] in ("round", "angular") and not bends(thing.type):
        return found[1:]
    return found


# Facts about one object: kind -> whether the value is true of the object.
_OF_OBJECT: dict[str, Callable[[SceneObject, Any], bool]] = {
    "object": lambda thing, term: is_a(thing.type, term),
    "color": lambda thing, word: words.color_word(thing.hue, thing.saturation, thing.lightness) == word,
    "shade": lambda thing, word: words.shade_word(thing.hue, thing.saturation, thing.lightness) == word,
    "size": lambda thing, word: words.size_word(relative_size(thing)) == word,
    "shape": lambda thing, word: word in shape_words_of(thing),
    "texture": lambda thing, word: word in words.texture_words(thing.roughness, thing.gloss),
    "part": lambda thing, word: words.part_word(thing.part_scale) == word and part_shows(thing.type, thing.pose),
    "pose": lambda thing, pose: thing.pose == pose,
    "facing": lambda thing, side: thing.facing == side,
    "zone": lambda thing, name: zone(thing) == name,
    "entity": lambda thing, name: thing.entity == name,
    "near": lambda thing, _: thing.depth < NEAR,
    "far": lambda thing, _: thing.depth > FAR,
}
# Facts about the scene: kind -> whether the values are true of it.
_OF_SCENE: dict[str, Callable[..., bool]] = {
    "place": lambda scene, name: scene.place == name,
    "light": lambda scene, name: scene.light == name,
    "view": lambda scene, name: scene.view == name,
    "count": lambda scene, term, n: count(scene, term) == n and not shown_by_background(scene.place, term),
    "absent": lambda scene, term: (
        not (shown_by_background(scene.place, term) or any(is_a(thing.type, term) for thing in scene.objects))
    ),
    "indoors": lambda scene, flag: load_catalog().places[scene.place].indoor is flag,
}


def fact_holds(scene: Scene, fact: Fact) -> bool:
    """Whether one fact is true of the scene. Raises ValueError for an unknown kind of fact."""
    kind, *values = fact
    if kind in _OF_SCENE:
        return _OF_SCENE[kind](scene, *values)
    visible = seen(scene)
    if kind in _OF_OBJECT:
        return values[0] in visible and _OF_OBJECT[kind](scene.objects[values[0]], values[-1])
    if kind == "action":
        i, verb, j = values
        return i in visible and j in visible and action_holds(scene, i, verb, j)
    if kind == "larger" or kind in RELATIONS:
        i, j = values
        if i not in visible or j not in visible:
            return False
        return larger(scene, i, j) if kind == "larger" else relation_holds(scene, kind, i, j)
    raise ValueError(f"unknown kind of fact {kind!r}")


def facts_hold(scene: Scene, facts: Iterable[Fact]) -> bool:
    """Whether all facts are true of the scene."""
    return all(fact_holds(scene, fact) for fact in facts)
