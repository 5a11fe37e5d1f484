"""States what two matched scenes have in common, axis by axis; `compare.py` adds the differences."""

from __future__ import annotations

from collections.abc import Iterator

from scenes.world import words
from scenes.world.actions import acts, verb_of
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import Facts, shape_words_of
from scenes.world.geometry import relations, relative_size
from scenes.world.scene import Scene, SceneObject

Statement = tuple[str, str, Facts, Facts]  # CaD axis, text, facts about the first scene, facts about the second
RELATION_WORDS = {
    "left_of": "to the left of", "right_of": "to the right of", "above": "above", "below": "below", "behind": "behind",
    "in_front_of": "in front of", "next_to": "next to",
}  # fmt: skip
LIGHT_PHRASES = {"day": "by day", "dusk": "at dusk", "night": "at night", "overcast": "under an overcast sky"}
_STATED_RELATIONS = ("left_of", "above", "behind", "next_to")  # the others would repeat them from the other side


def doing_text(scene: Scene, i: int) -> str:
    """The action of an object with its target: "chasing the ball"."""
    thing = scene.objects[i]
    verb = verb_of(thing)
    if verb is None or thing.target is None:
        return thing.pose
    return f"{verb} the {scene.objects[thing.target].type}"


def facts_of_doing(scene: Scene, i: int) -> Facts:
    """The fact behind `doing_text`."""
    thing = scene.objects[i]
    verb = verb_of(thing)
    if verb is None or thing.target is None:
        return (("pose", i, thing.pose),)
    return (("action", i, verb, thing.target),)


def described(thing: SceneObject) -> dict[str, str]:
    """The words that describe an object: kind of fact -> word."""
    said = {"color": words.color_word(thing.hue, thing.saturation, thing.lightness)}
    if size := words.size_word(relative_size(thing)):
        said["size"] = size
    if textures := words.texture_words(thing.roughness, thing.gloss):
        said["texture"] = textures[0]
    if shapes := shape_words_of(thing):
        said["shape"] = shapes[0]
    return said


def common_statements(a: Scene, b: Scene, matches: tuple[tuple[int, int], ...]) -> Iterator[Statement]:
    """Everything that is true of both scenes, given the pairs of matching objects."""
    same = [(i, j) for i, j in matches if a.objects[i].type == b.objects[j].type]
    yield from _types_and_counts(a, b, same)
    for i, j in same:
        name = a.objects[i].type
        one, other = described(a.objects[i]), described(b.objects[j])
        shared = {kind: word for kind, word in one.items() if other.get(kind) == word}
        if shared:
            text = f"the {name} is {words.listed(list(shared.values()))} in both images"
            facts_a = tuple((kind, i, word) for kind, word in shared.items())
            facts_b = tuple((kind, j, word) for kind, word in shared.items())
            yield "attributes", words.sentence(text), facts_a, facts_b
        if acts(load_catalog().types[name]) and doing_text(a, i) == doing_text(b, j):
            text = f"the {name} is {doing_text(a, i)} in both images"
            yield "actions", words.sentence(text), facts_of_doing(a, i), facts_of_doing(b, j)
    yield from _locations(a, b)
    yield from _relations(a, b, same)


def _types_and_counts(a: Scene, b: Scene, same: list[tuple[int, int]]) -> Iterator[Statement]:
    types = load_catalog().types
    names = list(dict.fromkeys(a.objects[i].type for i, _ in same))
    if names:
        text = f"both images show {words.listed([words.indefinite(name) for name in names])}"
        firsts = [next(pair for pair in same if a.objects[pair[0]].type == name) for name in names]
        facts_a = tuple(("object", i, name) for (i, _), name in zip(firsts, names, strict=True))
        facts_b = tuple(("object", j, name) for (_, j), name in zip(firsts, names, strict=True))
        yield "object types", words.sentence(text), facts_a, facts_b
    for name in names:
        n = sum(thing.type == name for thing in a.objects)
        vague = shown_by_background(a.place, name) or shown_by_background(b.place, name)
        if n > 1 and not vague and n == sum(thing.type == name for thing in b.objects):
            counted = f"{words.NUMBERS[n]} {types[name].plural}"
            yield "counts", f"There are {counted} in both images.", (("count", name, n),), (("count", name, n),)
    if len(a.objects) == len(b.objects) and not names:
        n = len(a.objects)
        yield "counts", f"Each image shows {words.NUMBERS[n]} {'object' if n == 1 else 'objects'}.", (), ()


def _locations(a: Scene, b: Scene) -> Iterator[Statement]:
    places = load_catalog().places
    if a.place == b.place:
        yield (
            "locations",
            f"Both images are set {places[a.place].phrase}.",
            (("place", a.place),),
            (("place", b.place),),
        )
    else:
        indoors = places[a.place].indoor
        if indoors == places[b.place].indoor:
            fact: Facts = (("indoors", indoors),)
            yield "locations", f"Both images were taken {'indoors' if indoors else 'outdoors'}.", fact, fact
    if a.light == b.light:
        yield (
            "locations",
            f"Both images were taken {LIGHT_PHRASES[a.light]}.",
            (("light", a.light),),
            (("light", b.light),),
        )


def _relations(a: Scene, b: Scene, same: list[tuple[int, int]]) -> Iterator[Statement]:
    for i, j in same:
        for k, m in same:
            if i == k or a.objects[i].type == a.objects[k].type:
                continue
            held = relations(b, j, m)
            for name in relations(a, i, k):
                if name in held and name in _STATED_RELATIONS:
                    text = f"the {a.objects[i].type} is {RELATION_WORDS[name]} the {a.objects[k].type} in both images"
                    yield "relative positions", words.sentence(text), ((name, i, k),), ((name, j, m),)
