"""Boxes, visible shares and spatial relations of objects, calculated from the truth of a scene without drawing it.

Boxes come from the outlines of a type's pose and are close to the drawn ones, but not equal. Relations need a margin,
so that they are true of the drawing as well.
"""

from __future__ import annotations

import functools

from scenes.shapes.posing import PART_SCALE, STRETCH, Template, bounds, build_template
from scenes.world.catalog import load_catalog
from scenes.world.scene import Scene, SceneObject

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in fractions of the image

BESIDE = 0.13  # least distance of centres for left_of, right_of and next_to
SEEN = 0.45  # least visible share of an object that texts mention
NEAR, FAR = 0.25, 0.8  # greatest depth of the foreground, least depth of the background
RELATIONS = ("left_of", "right_of", "above", "below", "behind", "in_front_of", "next_to")


def perspective(depth: float) -> float:
    """The size of an object at a depth, relative to its size at depth 0."""
    return 1.0 - 0.5 * depth


def relative_size(thing: SceneObject) -> float:
    """The size of an object relative to the usual one of its type at its depth."""
    return thing.size / perspective(thing.depth)


@functools.cache
def footprint(type_name: str, pose: str) -> tuple[float, float, bool]:
    """(width, height, whether elongation widens it) of a type in a pose, in heights of its neutral pose."""
    kind = load_catalog().types[type_name]
    _, bottom, _, top = bounds(kind.drawing, kind.poses[0])
    x0, y0, x1, y1 = bounds(kind.drawing, pose if pose in kind.poses else kind.poses[0])
    sideways = kind.drawing.stretch == "x" if kind.drawing.stretch else kind.aspect > 1.15
    return (x1 - x0) / (top - bottom), (y1 - y0) / (top - bottom), sideways


@functools.cache
def _template(type_name: str, pose: str) -> Template:
    kind = load_catalog().types[type_name]
    return build_template(kind.drawing, kind.poses[0], pose if pose in kind.poses else kind.poses[0])


@functools.cache
def part_shows(type_name: str, pose: str) -> bool:
    """Whether the size of a type's feature part is visible in a pose: part_scale moves it by over two pixels of 96."""
    kind, template = load_catalog().types[type_name], _template(type_name, pose)
    reach = float((template.feature * abs(template.points - template.anchors)).max())
    return bool(kind.part) and reach * (PART_SCALE - 1) * kind.size * 96 > 2


@functools.cache
def bends(type_name: str) -> bool:
    """Whether a type's outline changes visibly with roundness: by more than one pixel of a 96-pixel image."""
    kind = load_catalog().types[type_name]
    template = _template(type_name, kind.poses[0])
    reach = min(float(abs(template.to_angular).max()), float(abs(template.to_round).max()))
    return kind.shape_words and reach * kind.size * 96 > 1


def box(thing: SceneObject) -> Box:
    """The object's approximate bounding box in fractions of the image; may reach outside [0, 1]."""
    width, height, sideways = footprint(thing.type, thing.pose)
    unit = thing.size * load_catalog().types[thing.type].size
    longer = STRETCH ** (2 * thing.elongation - 1)
    width *= unit * (longer if sideways else 1 / longer)
    height *= unit / (longer if sideways else 1 / longer)
    return thing.x - width / 2, thing.y - height, thing.x + width / 2, thing.y


def overlap(a: Box, b: Box) -> float:
    """Area of the intersection of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def visible_shares(things: tuple[SceneObject, ...] | list[SceneObject]) -> list[float]:
    """Lower bounds in [0, 1] of the share of each object's box inside the image and not behind nearer boxes."""
    found = [box(thing) for thing in things]
    shares = []
    for thing, b in zip(things, found, strict=True):
        area = (b[2] - b[0]) * (b[3] - b[1]) or 1.0
        inside = overlap(b, (0.0, 0.0, 1.0, 1.0))
        hidden = sum(
            overlap(b, other)
            for rival, other in zip(things, found, strict=True)
            if rival is not thing and rival.depth <= thing.depth
        )
        shares.append(max(0.0, (inside - hidden) / area))
    return shares


def seen(scene: Scene) -> tuple[int, ...]:
    """Indices of the objects that are visible enough to be mentioned in a text (SEEN)."""
    return tuple(i for i, share in enumerate(visible_shares(scene.objects)) if share >= SEEN)


def zone(thing: SceneObject) -> str:
    """The third of the image that the object is in: "left", "middle" or "right"; "" near a border between them."""
    if thing.x < 0.33:
        return "left"
    if thing.x > 0.67:
        return "right"
    return "middle" if 0.41 < thing.x < 0.59 else ""


def relation_holds(scene: Scene, relation: str, i: int, j: int) -> bool:
    """Whether object i clearly stands in one of RELATIONS to object j. Raises ValueError for an unknown relation."""
    a, b = scene.objects[i], scene.objects[j]
    dx, dy, dz = a.x - b.x, a.y - b.y, a.depth - b.depth
    if relation == "left_of":
        return dx < -BESIDE
    if relation == "right_of":
        return dx > BESIDE
    if relation == "behind":
        return dz > 0.22 and abs(dx) < 0.45
    if relation == "in_front_of":
        return dz < -0.22 and abs(dx) < 0.45
    box_a, box_b = box(a), box(b)
    if relation == "above":
        return box_a[3] < box_b[1] + 0.02 and abs(dx) < 0.3
    if relation == "below":
        return box_b[3] < box_a[1] + 0.02 and abs(dx) < 0.3
    if relation == "next_to":
        gap = max(box_a[0], box_b[0]) - min(box_a[2], box_b[2])
        return gap < 0.14 and abs(dx) > BESIDE and abs(dy) < 0.14 and abs(dz) < 0.22
    raise ValueError(f"unknown relation {relation!r}; known: {', '.join(RELATIONS)}")


def relations(scene: Scene, i: int, j: int) -> list[str]:
    """All of RELATIONS in which object i clearly stands to object j."""
    return [relation for relation in RELATIONS if relation_holds(scene, relation, i, j)]


def larger(scene: Scene, i: int, j: int) -> bool:
    """Whether object i is clearly larger in the image than object j, in height and in area."""
    a, b = box(scene.objects[i]), box(scene.objects[j])
    tall, short = a[3] - a[1], b[3] - b[1]
    return tall > 1.3 * short and tall * (a[2] - a[0]) > 1.3 * short * (b[2] - b[0])
