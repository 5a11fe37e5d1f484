"""A drawing in one pose as arrays: the outline points of all parts, and how attributes move them.

Attributes act linearly on these arrays (a morph towards angular or round, a scaling about an anchor, a stretch), so
an object with any number of parts takes a few array operations.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from scenes.shapes.grammar import Drawing, Part
from scenes.shapes.outlines import GRID, Points, faceted, normals, on_grid, rounded, subdivide, thickness
from scenes.shapes.primitives import SHAPES, Ring

Affine = tuple[float, float, float, float, float, float]  # a b tx, c d ty
FACETS = 7  # corners of an oval at roundness 0
STRETCH = 1.36  # factor of the length at elongation 1; the width is divided by it
PART_SCALE = 1.6  # factor of the feature part's size at part_scale 1; its inverse at 0


@dataclasses.dataclass(frozen=True)
class Piece:
    """One closed ring of a part: rows `start` to `stop` (not included) of the template's arrays."""

    start: int
    stop: int
    part: Part
    thickness: float
    clip: tuple[tuple[int, int], ...]  # (start, stop) of the rings it is drawn inside of; (): not clipped


@dataclasses.dataclass(frozen=True)
class Template:
    """All points of a drawing in one pose, n of them, in units of the neutral pose's height; y points up."""

    points: Points  # [n, 2]
    to_angular: Points  # [n, 2]: added in full at roundness 0
    to_round: Points  # [n, 2]: added in full at roundness 1
    normals: Points  # [n, 2] outward
    reach: Points  # [n, 1] thickness of the piece
    anchors: Points  # [n, 2] point about which feature points are scaled
    feature: Points  # [n, 1] 1 where part_scale applies
    pieces: tuple[Piece, ...]
    stretch_x: bool
    off_ground: bool  # whether the pose leaves the ground


def _compose(outer: Affine, inner: Affine) -> Affine:
    a, b, tx, c, d, ty = outer
    e, f, ux, g, h, uy = inner
    return (a * e + b * g, a * f + b * h, a * ux + b * uy + tx, c * e + d * g, c * f + d * h, c * ux + d * uy + ty)


def _turn(
    degrees: float, pivot: tuple[float, float], dx: float = 0, dy: float = 0, sx: float = 1, sy: float = 1
) -> Affine:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    px, py = pivot
    a, b, c, d = cos * sx, -sin * sy, sin * sx, cos * sy
    return (a, b, px + dx - a * px - b * py, c, d, py + dy - c * px - d * py)


def _apply(affine: Affine, points: Ring) -> Ring:
    a, b, tx, c, d, ty = affine
    return [(a * x + b * y + tx, c * x + d * y + ty) for x, y in points]


def part_rings(part: Part) -> list[Ring]:
    """The part's rings before any pose: rotated, mirrored and repeated."""
    rings = SHAPES[part.shape](part.numbers, {"r": part.radius})
    if part.rotation:
        xs = [x for ring in rings for x, _ in ring]
        ys = [y for ring in rings for _, y in ring]
        turn = _turn(part.rotation, ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2))
        rings = [_apply(turn, ring) for ring in rings]
    count, dx, dy = part.repeat
    if count > 1:
        rings = [[(x + dx * i, y + dy * i) for x, y in ring] for i in range(int(count)) for ring in rings]
    count, cx, cy, spread = part.around
    if count > 1:
        step = spread / (count if abs(spread) >= 360 else count - 1)
        rings = [_apply(_turn(step * i, (cx, cy)), ring) for i in range(int(count)) for ring in rings]
    if part.mirror is not None:
        rings = [[(2 * part.mirror - x, y) for x, y in ring][::-1] for ring in rings] + rings
    return rings


def _group_affines(drawing: Drawing, pose: str) -> dict[str, Affine]:
    moves = drawing.poses.get(pose, {})
    result: dict[str, Affine] = {}
    for name, joint in drawing.joints.items():
        own: Affine = (1, 0, 0, 0, 1, 0)
        if name in moves:
            degrees, dx, dy, sx, sy = moves[name]
            own = _turn(degrees, joint.pivot, dx, dy, sx, sy)
        result[name] = _compose(result[joint.parent], own) if joint.parent else own
    return result


def _posed(drawing: Drawing, pose: str) -> list[tuple[Part, list[Ring], Affine]]:
    affines = _group_affines(drawing, pose)
    return [
        (part, [_apply(affines[part.group], ring) for ring in part_rings(part)], affines[part.group])
        for part in drawing.parts
        if (not part.only or pose in part.only) and pose not in part.without
    ]


def bounds(drawing: Drawing, pose: str) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a pose in the drawing's own units, without clipped parts."""
    shown = [rings for part, rings, _ in _posed(drawing, pose) if part.clip is None]
    points = [point for rings in shown for ring in rings for point in ring]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def build_template(drawing: Drawing, neutral: str, pose: str) -> Template:
    """The arrays of one pose, scaled so that the neutral pose has height 1."""
    x0, y0, x1, y1 = bounds(drawing, neutral)
    scale = 1 / (y1 - y0)
    pieces: list[Piece] = []
    rows: list[tuple[Points, ...]] = []
    row = 0
    rings_of: dict[str, tuple[tuple[int, int], ...]] = {}
    for part, rings, affine in _posed(drawing, pose):
        spans = []
        clip = rings_of.get(part.clip, ()) if part.clip is not None else ()
        for ring in rings:
            points = subdivide(ring, 20) * scale
            thick = thickness(points)
            if thick < 0.03 and len(points) == 32:
                points = points[::2]
            count = len(points)
            outward = normals(points)
            anchor, feature = (0.0, 0.0), 0.0
            if part.feature is not None:
                anchor, feature = _apply(affine, [part.feature])[0], 1.0
            corners = FACETS if thick > 0.05 else 5
            morphs = thick > 0.012 and part.clip is None and part.shape not in ("line", "dashes", "star", "ring")
            still = np.zeros_like(points)
            rows.append(
                (
                    points,
                    faceted(points, corners) - points if morphs else still,
                    rounded(points) - points if morphs else still,
                    outward,
                    np.full((count, 1), thick),
                    np.tile(np.array(anchor) * scale, (count, 1)),
                    np.full((count, 1), feature),
                )
            )
            pieces.append(Piece(row, row + count, part, thick, clip))
            spans.append((row, row + count))
            row += count
        if part.clip is None:
            rings_of[""] = tuple(spans)
        if part.id:
            rings_of[part.id] = tuple(spans)
    columns = [on_grid(np.concatenate(column)) for column in zip(*rows, strict=True)]
    stretch_x = drawing.stretch == "x" if drawing.stretch else (x1 - x0) > 1.15 * (y1 - y0)
    points, to_angular, to_round, outward, reach, anchors, features = columns
    return Template(
        points, to_angular, to_round, outward, reach, anchors, features, tuple(pieces), stretch_x, pose in drawing.air
    )


def _power(base: float, amount: float) -> float:
    """base ** (2 * amount - 1), rounded as `on_grid` does: 1 / base at 0, 1 at 0.5, base at 1."""
    return round(math.pow(base, 2 * amount - 1) * GRID) / GRID


def shape_points(template: Template, roundness: float, elongation: float, part_scale: float) -> tuple[Points, Points]:
    """Points [n, 2] and feature growth [n, 1] of an object with these attributes, y up, in template units."""
    points = template.points
    if roundness < 0.5:
        points = points + template.to_angular * ((0.5 - roundness) * 2)
    elif roundness > 0.5:
        points = points + template.to_round * ((roundness - 0.5) * 2)
    factor = _power(PART_SCALE, part_scale) - 1
    growth = 1 + template.feature * factor
    if factor:
        points = template.anchors + (points - template.anchors) * growth
    if elongation != 0.5:
        longer = _power(STRETCH, elongation)
        wide = longer if template.stretch_x else 1 / longer
        points = points * np.array([wide, 1 / wide])
    return points, growth
