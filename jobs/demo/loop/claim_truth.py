"""Whether what is claimed of an image is true of its scene."""

from __future__ import annotations

import functools
import itertools

from jobs.demo.loop.item_claims import Claims, Named
from mining.annotate.english import gerund
from mining.text.axes import ACTIONS
from mining.text.kinds import same_noun
from scenes.language.phrases import CATEGORY_WORDS
from scenes.world import words
from scenes.world.actions import action_holds, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import is_a, shape_words_of
from scenes.world.geometry import part_shows, relation_holds, relative_size, seen, zone
from scenes.world.scene import Scene, SceneObject

__all__ = ["holds", "terms_of"]

_RELATIONS = {
    "left-of": "left_of", "right-of": "right_of", "above": "above", "under": "below", "behind": "behind",
    "in-front-of": "in_front_of", "next-to": "next_to",
}  # fmt: skip
_SIZES = {"large": "big", "small": "small"}
# What is said of a shape, and the words of the scenes for it: a squat cup is short, and so is a short bus.
_SHAPES = {
    "tall": ("tall",), "short": ("short", "squat"), "squat": ("squat",), "round": ("round",), "angular": ("angular",),
    "long": ("long",), "stretched": ("long", "tall"),
}  # fmt: skip


@functools.lru_cache(maxsize=4_096)
def terms_of(noun: str) -> tuple[str, ...]:
    """The types and categories that a noun may name: its own type, those that it is a synonym of, or a category."""
    types = load_catalog().types
    own = [name for name in types if name == noun or same_noun(name) == same_noun(noun)]
    same = [name for name, kind in types.items() if noun in kind.synonyms]
    plain = [name for name, plural in CATEGORY_WORDS.items() if noun in (name, plural)]
    above = [noun] if any(noun in kind.path for kind in types.values()) else []
    return tuple(dict.fromkeys([*own, *same, *plain, *above]))


def holds(claims: Claims, scene: Scene, background: bool = True) -> bool | None:
    """Whether all claims are true of the scene; None where some were not understood and none is false.

    background: whether a thing that the background may show counts as there. The scene's truth does not say whether it
    is, so a claim that only holds with the background is neither true nor false.
    """
    if not all(_scene_fact(axis, value, scene) for axis, value in claims.scene.items()):
        return False
    names = list(claims.things)
    parts = [name for name in names if _is_only_part(claims.things[name].noun, scene, background)]
    known = [name for name in names if name not in parts and terms_of(claims.things[name].noun)]
    unknown = [name for name in names if name not in known and name not in parts]
    if not all(_number_holds(claims.things[name], scene) for name in known):
        return False
    decor = {name for name in known if background and _in_background(claims.things[name].noun, scene)}
    visible = seen(scene)
    understood: bool | None = None if unknown or claims.unread else True
    for chosen in itertools.product(*([*visible, *([-1] if name in decor else [])] for name in known)):
        places = dict(zip(known, chosen, strict=True))
        own = [place for place in chosen if place >= 0]
        if len(set(own)) < len(own):
            continue
        fits = [_fits(claims.things[name], scene, place) for name, place in places.items()]
        fits += [_related(scene, places, one, kind, other, claims) for one, kind, other in claims.relations]
        if False not in fits:
            return None if None in fits else understood
    return False


def _scene_fact(axis: str, value: str, scene: Scene) -> bool:
    if axis == "indoors":
        return load_catalog().places[scene.place].indoor == (value == "indoors")
    return bool(getattr(scene, axis) == value)


def _number_holds(thing: Named, scene: Scene) -> bool:
    exact = ("count", "") in thing.facts
    if thing.number in ("", "1") and not exact:
        return True
    terms = terms_of(thing.noun)
    count = sum(any(is_a(scene.objects[i].type, term) for term in terms) for i in seen(scene))
    if _in_background(thing.noun, scene):
        return thing.number == "many" or count <= int(thing.number)
    return count > 1 if thing.number == "many" else count == int(thing.number)


def _in_background(noun: str, scene: Scene) -> bool:
    return any(shown_by_background(scene.place, term) for term in (noun, *terms_of(noun)))


def _is_only_part(noun: str, scene: Scene, background: bool) -> bool:
    """Whether a noun is no object of the scene but a part of one that is seen, such as a house's windows."""
    terms = terms_of(noun)
    if any(is_a(thing.type, term) for thing in scene.objects for term in terms):
        return False
    kinds = [(load_catalog().types[scene.objects[i].type], scene.objects[i].pose) for i in seen(scene)]
    shown = {kind.part for kind, pose in kinds if kind.part and part_shows(kind.name, pose)}
    if noun in {word for part in shown for word in (part, part.removesuffix("s"), f"{part}s")}:
        return True
    return background and not terms and _in_background(noun, scene)


def _fits(thing: Named, scene: Scene, place: int) -> bool | None:
    """Whether an object is the named thing; place -1 stands for the background, whose things have no known looks."""
    if place < 0:
        return True if thing.bare else None
    own = scene.objects[place]
    if not any(is_a(own.type, term) for term in terms_of(thing.noun)):
        return False
    facts = [_looks(own, axis, part, value) for (axis, part), value in thing.facts.items()]
    if thing.side:
        facts.append(zone(own) == thing.side)
    if thing.verb:
        facts.append(_does(own, thing.verb))
    return False if False in facts else None if None in facts else True


def _looks(thing: SceneObject, axis: str, part: str, value: str) -> bool | None:
    hue, saturation, lightness = thing.hue, thing.saturation, thing.lightness
    if axis == "count":
        return True
    if axis == "color" and not part:
        return words.color_word(hue, saturation, lightness) == value
    if axis == "color" and part == "shade":
        return words.shade_word(hue, saturation, lightness) == value
    if axis == "size" and not part and value in _SIZES:
        return words.size_word(relative_size(thing)) == _SIZES[value]
    if axis in ("size", "shape", "attribute") and value in _SHAPES:
        return bool(set(_SHAPES[value]) & set(shape_words_of(thing)))
    if axis == "texture" and value in ("glossy", "rough"):
        return value in words.texture_words(thing.roughness, thing.gloss)
    if axis == "attribute":
        poses = {pose for kind in load_catalog().types.values() for pose in kind.poses}
        return thing.pose == value if value in poses else None
    return None


def _does(thing: SceneObject, verb: str) -> bool:
    """Whether an object's pose, or the verb of its directed action, is said by a verb's lemma."""
    first = (verb_of(thing) or "").partition(" ")[0]
    if {thing.pose, first} & _forms(verb):
        return True
    # A bird that glides flies, unless flying is another pose of it.
    group = ACTIONS.get(verb)
    if group is None or any(pose in _forms(verb) for pose in load_catalog().types[thing.type].poses):
        return False
    return any(thing.pose == gerund(same) for same, other in ACTIONS.items() if other == group)


@functools.lru_cache(maxsize=1_024)
def _forms(verb: str) -> frozenset[str]:
    return frozenset({gerund(verb), f"{verb}d", f"{verb}ed", verb})


def _related(scene: Scene, places: dict[str, int], one: str, kind: str, other: str, claims: Claims) -> bool | None:
    """Whether two chosen objects are related as said; the object of a verb is its action's target."""
    i, j = places.get(one, -1), places.get(other, -1)
    if i < 0 or j < 0:
        return None
    verb = verb_of(scene.objects[i])
    acted = bool(claims.things[one].verb) and verb is not None and action_holds(scene, i, verb, j)
    relation = _RELATIONS.get(kind)
    if relation is not None:
        return acted or relation_holds(scene, relation, i, j)
    return acted if claims.things[one].verb else None
