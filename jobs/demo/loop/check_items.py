"""Checks a comparison's items against the truth of two scenes: which are right, and which true differences were said.

    checked = check_comparison(comparison, first, second)
    checked.differences[0].right                       # True, False, or None where nothing checkable is said
    item_scores([checked, ...])["differences precision"]

An item is right when all that it claims holds: of both images for a commonality; for a difference of each image that it
names, and not of both images alike. A true difference is found when a right item says what differs: the colour of the
bus, the number of dogs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from customize.lmm.evaluate.intervals import Figure, share_figure
from jobs.demo.loop.claim_truth import holds, terms_of
from jobs.demo.loop.item_claims import Claims, ItemClaims, read_item
from mining.annotate.comparison import AXES, Comparison, Item
from scenes.comparing.compare import Commonality, Difference, compare
from scenes.held_out.claims import color_of
from scenes.world.scene import Scene

__all__ = ["CheckedComparison", "CheckedItem", "check_comparison", "check_item", "item_scores"]

# What is said or differs: ("color", "bus"), ("count", "dog"), ("place", "").
Key = tuple[str, str]
_AXIS = {
    "type": "object types", "color": "attributes", "look": "attributes", "count": "counts", "pose": "actions",
    "place": "locations", "light": "locations", "view": "locations", "indoors": "locations",
    "position": "relative positions",
}  # fmt: skip
# Differences of these changes can be said in words; smaller ones ("the cake is smoother") are not asked for.
_SAID = ("type", "hue", "count", "pose", "place", "light", "position")


@dataclass(frozen=True)
class CheckedItem:
    """An item with its axis. right: None where no fact was recognised. keys: what it says something about."""

    text: str
    axis: str | None
    right: bool | None
    keys: frozenset[Key] = frozenset()


@dataclass(frozen=True)
class CheckedComparison:
    """The checked lists. found: list name -> axis -> (true items that were said, true items)."""

    commonalities: tuple[CheckedItem, ...]
    differences: tuple[CheckedItem, ...]
    found: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)


def check_comparison(comparison: Comparison, first: Scene, second: Scene) -> CheckedComparison:
    """Check every item of a comparison of two scenes, image 1 and image 2."""
    scenes = (first, second)
    truth = compare(first, second)
    common = tuple(check_item(item, scenes, common=True) for item in comparison.commonalities)
    different = tuple(check_item(item, scenes, common=False) for item in comparison.differences)
    true_common = [(each.axis, keys) for each in truth.commonalities if (keys := _common_keys(each, first))]
    true_different = [
        (each.axis, keys)
        for each in truth.differences
        if each.change in _SAID and (keys := _different_keys(each, first, second))
    ]
    found = {
        "commonalities": _recalled(common, true_common),
        "differences": _recalled(different, true_different),
    }
    return CheckedComparison(common, different, found)


def check_item(item: Item, scenes: tuple[Scene, Scene], *, common: bool) -> CheckedItem:
    """Check one item; common: whether it is said as a commonality."""
    said = read_item(item.text)
    keys = _keys(said)
    axis = item.axis or next((_AXIS[kind] for kind, _ in sorted(keys, key=_rank)), None)
    if not said.of or any(claims.empty for claims in said.of.values()):
        return CheckedItem(item.text, axis, None)
    right = _right_common(said, scenes) if common else _right_difference(said, scenes)
    return CheckedItem(item.text, axis, right, frozenset(keys))


def item_scores(checked: Sequence[CheckedComparison]) -> dict[str, Figure]:
    """Precision and recall of both lists, over all pairs and by axis: "differences recall: counts".

    Precision leaves out items without a fact that was recognised; "checkable" says how many items have one. The
    intervals take items for independent, although those of a pair are not quite.
    """
    figures: dict[str, Figure] = {}
    for name in ("differences", "commonalities"):
        items = [item for each in checked for item in getattr(each, name)]
        known = [item for item in items if item.right is not None]
        figures[f"{name} precision"] = _precision(known)
        totals = _totals(each.found[name] for each in checked)
        figures[f"{name} recall"] = (
            share_figure(*map(sum, zip(*totals.values(), strict=True))) if totals else (share_figure(0, 0))
        )
        figures[f"{name} checkable"] = share_figure(len(known), len(items))
        for axis in AXES:
            own = [item for item in known if item.axis == axis]
            if own:
                figures[f"{name} precision: {axis}"] = _precision(own)
            if axis in totals:
                figures[f"{name} recall: {axis}"] = share_figure(*totals[axis])
    return figures


def _precision(items: Sequence[CheckedItem]) -> Figure:
    return share_figure(sum(bool(item.right) for item in items), len(items))


def _totals(found: Iterable[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    totals: dict[str, tuple[int, int]] = {}
    for each in found:
        for axis, (said, true) in each.items():
            before = totals.get(axis, (0, 0))
            totals[axis] = (before[0] + said, before[1] + true)
    return totals


def _right_common(said: ItemClaims, scenes: tuple[Scene, Scene]) -> bool | None:
    if set(said.of) != {1, 2}:
        return False  # says something of one image only
    return _all_of([holds(claims, scenes[image - 1]) for image, claims in said.of.items()])


def _right_difference(said: ItemClaims, scenes: tuple[Scene, Scene]) -> bool | None:
    """Whether each claim holds of its image, and at least one of them fails of the other image."""
    own = [holds(claims, scenes[image - 1]) for image, claims in said.of.items()]
    own += [_lacks(claims, scenes[image - 1]) for image, claims in said.absent.items()]
    right = _all_of(own)
    if not right:
        return right
    # Where only the background of the other image would show the same, nobody can tell.
    others = [_lacks(claims, scenes[2 - image]) for image, claims in said.of.items()]
    return True if True in others else None if None in others else False


def _lacks(claims: Claims, scene: Scene) -> bool | None:
    """Whether the claims are false of the scene; None where they were not understood or the background decides."""
    if holds(claims, scene, background=False):
        return False
    return True if holds(claims, scene) is False else None


def _all_of(values: Sequence[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True


def _recalled(items: Sequence[CheckedItem], truth: Sequence[tuple[str, frozenset[Key]]]) -> dict[str, tuple[int, int]]:
    """axis -> (said, true); equal true items count once."""
    said = {key for item in items if item.right for key in item.keys}
    counts: dict[str, tuple[int, int]] = {}
    for axis, keys in dict.fromkeys(truth):
        before = counts.get(axis, (0, 0))
        counts[axis] = (before[0] + bool(keys & said), before[1] + 1)
    return counts


def _keys(said: ItemClaims) -> set[Key]:
    """What an item says something about; a thing that only one image is said to have counts for its type."""
    found: set[Key] = set()
    nouns = {image: {each.noun for each in claims.things.values()} for image, claims in said.of.items()}
    for image, claims in said.of.items():
        found |= {(axis, "") for axis in claims.scene}
        related = {name for one, _, other in claims.relations for name in (one, other)}
        for name, thing in claims.things.items():
            other = nouns.get(3 - image)
            for kind in _kinds(claims, name, related, alone=other is None or thing.noun not in other):
                found |= {(kind, term) for term in terms_of(thing.noun)}
    return found


def _kinds(claims: Claims, name: str, related: set[str], alone: bool) -> set[str]:
    thing = claims.things[name]
    kinds = {"color" if axis == "color" else "count" if axis == "count" else "look" for axis, _ in thing.facts}
    if thing.number not in ("", "1", "many"):
        kinds.add("count")
    if thing.verb:
        kinds.add("pose")
    elif thing.side or name in related:
        kinds.add("position")
    return kinds | ({"type"} if alone or not kinds else set())


def _rank(key: Key) -> int:
    return list(_AXIS).index(key[0]) if key[0] != "type" else len(_AXIS)


def _different_keys(each: Difference, first: Scene, second: Scene) -> frozenset[Key]:
    """What a true difference is about; empty where it cannot be said in plain words."""
    if each.change in ("place", "light"):
        return frozenset({(each.change, "")})
    named = {str(fact[1]) for fact in (*each.facts_a, *each.facts_b) if fact[0] in ("absent", "count")}
    if each.change in ("type", "count") and named:
        return frozenset((each.change, name) for name in named)
    if each.a is None or each.b is None:
        return frozenset()
    one, other = first.objects[each.a], second.objects[each.b]
    if each.change == "type":
        return frozenset({("type", one.type), ("type", other.type)})
    if each.change == "hue":
        return frozenset({("color", one.type)}) if color_of(one) != color_of(other) else frozenset()
    if each.change == "pose":
        return frozenset({("pose", one.type)})
    partners = [first.objects[fact[2]].type for fact in each.facts_a if len(fact) == 3]
    return frozenset(("position", name) for name in (one.type, *partners)) if partners else frozenset()


def _common_keys(each: Commonality, first: Scene) -> frozenset[Key]:
    """What a true commonality is about; of several attributes in one sentence the colour."""
    kinds = {"object": "type", "color": "color", "pose": "pose", "action": "pose"}
    found: set[Key] = set()
    for fact in each.facts_a:
        if fact[0] in ("place", "light"):
            found.add((fact[0], ""))
        elif fact[0] == "count":
            found.add(("count", str(fact[1])))
        elif fact[0] in kinds:
            found.add((kinds[fact[0]], first.objects[fact[1]].type))
        elif each.axis == "relative positions":
            found |= {("position", first.objects[i].type) for i in itertools.islice(fact, 1, 3)}
    return frozenset(found)
