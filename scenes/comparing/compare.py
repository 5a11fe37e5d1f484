"""Compares two scenes: their true commonalities and differences, with signed amounts for continuous attributes.

Objects are matched first: by individual, then by type and similarity, then by position (an object whose type changed).
Differences are along CaD's six axes, and each names the one of `axes.AXES` that changed. Backgrounds are ignored, as
the annotators of Subtle-Diff were instructed.
Run as: python -m scenes.comparing.compare corpus/7 corpus/8
"""

from __future__ import annotations

import dataclasses
import math
import sys

from scenes.comparing.axes import CAD_AXES, SUBTLE, THRESHOLDS, hue_shift, hue_shows
from scenes.comparing.commonalities import (
    LIGHT_PHRASES,
    RELATION_WORDS,
    common_statements,
    doing_text,
    facts_of_doing,
)
from scenes.world import words
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import Facts
from scenes.world.geometry import bends, part_shows, relations, relative_size
from scenes.world.scene import Scene, SceneObject

Match = tuple[int, int]
_SPOT = 0.03  # objects closer than this in x and y are at the same position


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference. `amount` is b - a where the change is continuous or a count, else None."""

    axis: str  # one of CAD_AXES
    change: str  # one of axes.AXES
    text: str
    amount: float | None = None
    a: int | None = None  # index of the object in each scene
    b: int | None = None
    facts_a: Facts = ()  # facts that the text states about each scene; amounts are no facts
    facts_b: Facts = ()

    @property
    def subtle(self) -> str | None:
        """Subtle-Diff's attribute (color, shape, texture), or None."""
        return SUBTLE.get(self.change)


@dataclasses.dataclass(frozen=True)
class Commonality:
    """One statement that is true of both scenes."""

    axis: str  # one of CAD_AXES
    text: str
    facts_a: Facts
    facts_b: Facts


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All commonalities and differences of two scenes, in the order of CAD_AXES."""

    commonalities: tuple[Commonality, ...]
    differences: tuple[Difference, ...]
    matches: tuple[Match, ...]

    def text(self) -> str:
        """Both lists as CaD-Inst writes them."""
        parts = []
        common, different = [item.text for item in self.commonalities], [item.text for item in self.differences]
        for title, texts in (("Commonalities", common), ("Differences", different)):
            lines = [f"{n}. {text}" for n, text in enumerate(texts, 1)] or ["None."]
            parts.append("\n".join([f"{title}:", *lines]))
        return "\n".join(parts)


def compare(a: Scene, b: Scene) -> Comparison:
    """The true commonalities and differences of two scenes; "first" is a, "second" is b."""
    matches = match(a, b)
    differences = [*_types_and_counts(a, b, matches), *_scene_differences(a, b)]
    for i, j in matches:
        if a.objects[i].type == b.objects[j].type:
            differences += _attributes(a, b, i, j)
            differences += _actions(a, b, i, j, dict(matches))
            differences += _positions(a, b, i, j, matches)
    common = [Commonality(*said) for said in common_statements(a, b, matches)]

    def order(item: Difference | Commonality) -> int:
        return CAD_AXES.index(item.axis)

    return Comparison(tuple(sorted(common, key=order)), tuple(sorted(differences, key=order)), matches)


def match(a: Scene, b: Scene) -> tuple[Match, ...]:
    """Pairs (index in a, index in b) of corresponding objects, in the order of a."""
    found: dict[int, int] = {}
    candidates: list[tuple[int, float, int, int]] = []
    for i, one in enumerate(a.objects):
        for j, other in enumerate(b.objects):
            if one.entity is not None and one.entity == other.entity and one.type == other.type:
                candidates.append((0, 0.0, i, j))
            elif one.type == other.type:
                candidates.append((1, _difference(one, other), i, j))
            elif abs(one.x - other.x) < _SPOT and abs(one.y - other.y) < _SPOT:
                candidates.append((2, abs(one.x - other.x), i, j))
    for _, _, i, j in sorted(candidates):
        if i not in found and j not in found.values():
            found[i] = j
    return tuple(sorted(found.items()))


def _difference(one: SceneObject, other: SceneObject) -> float:
    """The difference of two objects, 0 for equal ones; without y, which depends on the view."""
    gap = abs(one.x - other.x) + abs(one.depth - other.depth) + abs(hue_shift(one.hue, other.hue))
    gap += sum(abs(float(getattr(one, name) - getattr(other, name))) for name in SUBTLE if name != "hue")
    return gap + 0.1 * (one.pose != other.pose) + 0.05 * (one.facing != other.facing)


def _name(thing: SceneObject) -> str:
    return f"the {thing.type}"


def _types_and_counts(a: Scene, b: Scene, matches: tuple[Match, ...]) -> list[Difference]:
    types = load_catalog().types
    found: list[Difference] = []
    for i, j in matches:
        one, other = a.objects[i], b.objects[j]
        if one.type != other.type:
            text = (
                f"Where the first image shows {words.indefinite(one.type)}, "
                f"the second shows {words.indefinite(other.type)}."
            )
            before, after = ("object", i, one.type), ("object", j, other.type)
            found.append(Difference("object types", "type", text, None, i, j, (before,), (after,)))
    left_a = [t.type for i, t in enumerate(a.objects) if i not in dict(matches)]
    left_b = [t.type for j, t in enumerate(b.objects) if j not in dict(matches).values()]
    for name in dict.fromkeys(left_a + left_b):
        extra = left_b.count(name) - left_a.count(name)
        in_a, in_b = (sum(t.type == name for t in scene.objects) for scene in (a, b))
        plural = types[name].plural
        vague = [shown_by_background(scene.place, name) for scene in (a, b)]
        if in_a and in_b and any(vague):
            more = f"{words.NUMBERS[abs(extra)]} more {name if abs(extra) == 1 else plural}"
            richer, poorer = ("second", "first") if extra > 0 else ("first", "second")
            text = f"The {richer} image shows {more} than the {poorer}."
            found.append(Difference("counts", "count", text, float(extra)))
            continue
        if in_a and in_b:
            verb = "is" if in_a == 1 else "are"
            text = f"There {verb} {_counted(name, in_a)} in the first image and {_counted(name, in_b)} in the second."
            counts: tuple[Facts, Facts] = (("count", name, in_a),), (("count", name, in_b),)
            found.append(Difference("counts", "count", text, float(extra), None, None, *counts))
            continue
        where, missing = ("second", "first") if in_b else ("first", "second")
        none = f"are no {plural}" if in_a + in_b > 1 else f"is no {name}"
        text = f"Only the {where} image shows {_counted(name, in_a + in_b)}; there {none} in the {missing}."
        if vague[0 if in_b else 1]:
            text = f"Among its main objects, only the {where} image has {_counted(name, in_a + in_b)}."
            found.append(Difference("object types", "type", text, float(extra)))
            continue
        absent: Facts = (("absent", name),)
        facts: tuple[Facts, Facts] = (absent, ()) if in_b else ((), absent)
        found.append(Difference("object types", "type", text, float(extra), None, None, *facts))
    return found


def _counted(name: str, n: int) -> str:
    return words.indefinite(name) if n == 1 else f"{words.NUMBERS[n]} {load_catalog().types[name].plural}"


_VIEWS = {"eye-level": "at eye level", "low": "from a low angle", "high": "from above"}


def _scene_differences(a: Scene, b: Scene) -> list[Difference]:
    places = load_catalog().places
    rows = (
        ("place", a.place, b.place, "is set", {name: place.phrase for name, place in places.items()}),
        ("light", a.light, b.light, "was taken", LIGHT_PHRASES),
        ("view", a.view, b.view, "was taken", _VIEWS),
    )
    return [
        Difference(
            "locations",
            change,
            f"The first image {verb} {phrases[one]}, the second {phrases[other]}.",
            facts_a=((change, one),),
            facts_b=((change, other),),
        )
        for change, one, other, verb, phrases in rows
        if one != other
    ]


def attribute_shift(one: SceneObject, other: SceneObject, change: str) -> float:
    """The signed difference (other - one) along one of axes.SUBTLE; size is the logarithm of the ratio."""
    if change == "hue":
        colorful = hue_shows(one.saturation, one.lightness) and hue_shows(other.saturation, other.lightness)
        return hue_shift(one.hue, other.hue) if colorful else 0.0
    if change == "size":
        return math.log(relative_size(other) / relative_size(one))
    before: float = getattr(one, change)
    after: float = getattr(other, change)
    return after - before


def _attributes(a: Scene, b: Scene, i: int, j: int) -> list[Difference]:
    one, other = a.objects[i], b.objects[j]
    kind = load_catalog().types[one.type]
    found = []
    for change in SUBTLE:
        shift = attribute_shift(one, other, change)
        if abs(shift) < THRESHOLDS[change] - 1e-9:
            continue
        shapeless = (change == "elongation" and not kind.shape_words) or (
            change == "roundness" and not bends(kind.name)
        )
        poses = one.pose, other.pose
        if shapeless or (change == "part_scale" and not all(part_shows(kind.name, pose) for pose in poses)):
            continue
        text = words.sentence(_attribute_text(one, other, change, shift, kind.part))
        found.append(Difference("attributes", change, text, round(shift, 4), i, j))
    return found


def _attribute_text(one: SceneObject, other: SceneObject, change: str, shift: float, part: str) -> str:
    if change == "hue":
        before, after = (words.color_word(thing.hue, thing.saturation, thing.lightness) for thing in (one, other))
        if before != after:
            return f"{_name(one)} is {before} in the first image and {after} in the second"
        return f"the color of {_name(one)} is closer to {words.hue_direction(one.hue, shift)} in the second image"
    if change == "part_scale":
        verb = "are" if part.endswith("s") else "is"
        more = "bigger" if shift > 0 else "smaller"
        return f"the {part} of {_name(one)} {verb} {more} in the second image"
    if change == "saturation":
        return f"the color of {_name(one)} is {words.COMPARATIVES[change][shift < 0]} in the second image"
    return f"{_name(one)} is {words.COMPARATIVES[change][shift < 0]} in the second image"


def _actions(a: Scene, b: Scene, i: int, j: int, matched: dict[int, int]) -> list[Difference]:
    one, other = a.objects[i], b.objects[j]
    same_target = one.target == other.target if one.target is None else matched.get(one.target) == other.target
    if one.pose == other.pose and same_target:
        return []
    text = words.sentence(f"{_name(one)} is {doing_text(a, i)} in the first image and {doing_text(b, j)} in the second")
    return [Difference("actions", "pose", text, None, i, j, facts_of_doing(a, i), facts_of_doing(b, j))]


def _positions(a: Scene, b: Scene, i: int, j: int, matches: tuple[Match, ...]) -> list[Difference]:
    one, other = a.objects[i], b.objects[j]
    dx, dz, dy = other.x - one.x, other.depth - one.depth, other.y - one.y
    comparable = a.view == b.view and a.place == b.place
    if max(abs(dx), abs(dz), abs(dy) if comparable else 0.0) < THRESHOLDS["position"] - 1e-9:
        return []
    for k, m in matches:
        if k == i or a.objects[k].type != b.objects[m].type:
            continue
        before, after = relations(a, i, k), relations(b, j, m)
        gone, new = [r for r in before if r not in after], [r for r in after if r not in before]
        if gone and new:
            partner = _name(a.objects[k]) if a.objects[k].type != one.type else f"another {one.type}"
            text = (
                f"{_name(one)} is {RELATION_WORDS[gone[0]]} {partner} in the first image "
                f"and {RELATION_WORDS[new[0]]} it in the second."
            )
            facts: tuple[Facts, Facts] = ((gone[0], i, k),), ((new[0], j, m),)
            return [Difference("relative positions", "position", words.sentence(text), round(dx, 4), i, j, *facts)]
    if abs(dx) >= max(abs(dz), abs(dy)):
        where = "farther right" if dx > 0 else "farther left"
    elif abs(dz) >= abs(dy):
        where = "farther away" if dz > 0 else "nearer"
    else:
        where = "lower down" if dy > 0 else "higher up"
    axis = "relative positions" if len(a.objects) > 1 else "locations"
    text = words.sentence(f"{_name(one)} is {where} in the second image")
    return [Difference(axis, "position", text, round(dx, 4), i, j)]


if __name__ == "__main__":
    from scenes.world.sample import sample

    first, second = (sample(name.rpartition("/")[0], int(name.rpartition("/")[2])) for name in sys.argv[1:3])
    print(compare(first, second).text())
