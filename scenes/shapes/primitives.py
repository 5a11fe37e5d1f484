"""The shapes of the drawing grammar as closed outlines: rings of points, y pointing up.

Strokes and hoops are closed rings too, so that drawing is filling only. Trigonometry uses Python floats, since NumPy's
vectorized functions may differ in the last bit between machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Ring = list[tuple[float, float]]

OVAL_POINTS = 32  # a circle of 100 px radius then deviates by an invisible 0.5 px


class ShapeError(ValueError):
    """A shape got the wrong numbers."""


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, count: int) -> Ring:
    step = (stop - start) / (count - 1)
    angles = [math.radians(start + step * i) for i in range(count)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _pairs(numbers: Sequence[float], least: int) -> Ring:
    if len(numbers) % 2 or len(numbers) < 2 * least:
        raise ShapeError(f"needs x y pairs, at least {least}")
    return [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)]


def _exactly(numbers: Sequence[float], count: int, names: str) -> Sequence[float]:
    if len(numbers) != count:
        raise ShapeError(f"takes {names}, got {len(numbers)} numbers")
    return numbers


def oval(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Ellipse: cx cy rx ry."""
    cx, cy, rx, ry = _exactly(numbers, 4, "cx cy rx ry")
    return [_arc(cx, cy, rx, ry, 0, 360 - 360 / OVAL_POINTS, OVAL_POINTS)]


def pie(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Part of an ellipse cut by its chord: cx cy rx ry from to (degrees, counter-clockwise, 0 is right, 90 is up)."""
    cx, cy, rx, ry, start, stop = _exactly(numbers, 6, "cx cy rx ry from to")
    return [_arc(cx, cy, rx, ry, start, stop, max(6, int(abs(stop - start) / 11)))]


def _rounded(corners: Ring, radius: float) -> Ring:
    """Replace each corner by a quadratic arc that begins `radius` before the corner."""
    if radius <= 0:
        return corners
    ring: Ring = []
    count = len(corners)
    for i, (x, y) in enumerate(corners):
        ends = []
        for nx, ny in (corners[i - 1], corners[(i + 1) % count]):
            length = math.hypot(nx - x, ny - y) or 1.0
            share = min(radius / length, 0.5)
            ends.append((x + (nx - x) * share, y + (ny - y) * share))
        (ax, ay), (bx, by) = ends
        for step in range(5):
            t = step / 4
            u = 1 - t
            ring.append((u * u * ax + 2 * u * t * x + t * t * bx, u * u * ay + 2 * u * t * y + t * t * by))
    return ring


def box(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Rectangle: x0 y0 x1 y1; option r rounds its corners."""
    x0, y0, x1, y1 = _exactly(numbers, 4, "x0 y0 x1 y1")
    return [_rounded([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], options.get("r", 0.0))]


def poly(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Polygon through x y pairs; option r rounds its corners."""
    return [_rounded(_pairs(numbers, 3), options.get("r", 0.0))]


def _spline(knots: Ring, closed: bool, steps: int) -> Ring:
    """Catmull-Rom curve through the knots."""
    count = len(knots)
    ring: Ring = []
    for i in range(count if closed else count - 1):
        if closed:
            p0, p1, p2, p3 = (knots[(i + k - 1) % count] for k in range(4))
        else:
            p0, p1, p2, p3 = (knots[min(max(i + k - 1, 0), count - 1)] for k in range(4))
        for step in range(steps):
            t = step / steps
            t2, t3 = t * t, t * t * t
            weights = (-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2)
            ring.append(
                (
                    0.5 * (weights[0] * p0[0] + weights[1] * p1[0] + weights[2] * p2[0] + weights[3] * p3[0]),
                    0.5 * (weights[0] * p0[1] + weights[1] * p1[1] + weights[2] * p2[1] + weights[3] * p3[1]),
                )
            )
    if not closed:
        ring.append(knots[-1])
    return ring


def blob(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Smooth closed curve through x y pairs."""
    knots = _pairs(numbers, 3)
    return [_spline(knots, True, max(3, min(8, 40 // len(knots))))]


def _ribbon(path: Ring, widths: Sequence[float], caps: bool) -> Ring:
    """A band along a path with a width for each point; offsets along bisectors avoid overlaps at bends."""
    left: Ring = []
    right: Ring = []
    count = len(path)
    for i, (x, y) in enumerate(path):
        ax, ay = path[max(i - 1, 0)]
        bx, by = path[min(i + 1, count - 1)]
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy) or 1.0
        half = widths[i] / 2
        nx, ny = -dy / length * half, dx / length * half
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    if not caps:
        return right + left[::-1]

    def cap(tip: tuple[float, float], inner: tuple[float, float], width: float) -> Ring:
        angle = math.degrees(math.atan2(tip[1] - inner[1], tip[0] - inner[0]))
        return _arc(tip[0], tip[1], width / 2, width / 2, angle - 60, angle + 60, 5)

    return right + cap(path[-1], path[-2], widths[-1]) + left[::-1] + cap(path[0], path[1], widths[0])


def limb(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Tapered limb with round ends through x y width triples (smooth where it has three or more)."""
    if len(numbers) % 3 or len(numbers) < 6:
        raise ShapeError("takes x y width triples, at least 2")
    knots = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 3)]
    widths = [numbers[i + 2] for i in range(0, len(numbers), 3)]
    if len(knots) == 2:
        return [_ribbon(knots, widths, True)]
    steps = 5
    path = _spline(knots, False, steps)
    fine = [widths[i] + (widths[i + 1] - widths[i]) * s / steps for i in range(len(widths) - 1) for s in range(steps)]
    return [_ribbon(path, [*fine, widths[-1]], True)]


def line(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Straight strokes: width, then x y pairs; each segment is a ring of its own."""
    if len(numbers) < 5:
        raise ShapeError("takes width, then at least 2 x y pairs")
    width, knots = numbers[0], _pairs(numbers[1:], 2)
    return [_ribbon([knots[i], knots[i + 1]], [width, width], True) for i in range(len(knots) - 1)]


def dashes(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """Separate straight strokes: width, then x0 y0 x1 y1 for each (whiskers, gills, rays)."""
    if len(numbers) < 5 or len(numbers) % 4 != 1:
        raise ShapeError("takes width, then x0 y0 x1 y1 for each stroke")
    ends = _pairs(numbers[1:], 2)
    return [_ribbon([ends[i], ends[i + 1]], [numbers[0]] * 2, True) for i in range(0, len(ends), 2)]


def curve(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """A smooth stroke: width, then the x y pairs that it passes through."""
    if len(numbers) < 5:
        raise ShapeError("takes width, then at least 2 x y pairs")
    path = _spline(_pairs(numbers[1:], 2), False, 6)
    return [_ribbon(path, [numbers[0]] * len(path), True)]


def ring(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """A hoop: cx cy rx ry width [from to]; with angles it is an arc with round ends."""
    if len(numbers) not in (5, 7):
        raise ShapeError(f"takes cx cy rx ry width [from to], got {len(numbers)} numbers")
    cx, cy, rx, ry, width = numbers[:5]
    if len(numbers) == 7:
        start, stop = numbers[5:]
        path = _arc(cx, cy, rx, ry, start, stop, max(4, int(abs(stop - start) / 14)))
        return [_ribbon(path, [width] * len(path), True)]
    outer = _arc(cx, cy, rx + width / 2, ry + width / 2, 0, 360, 29)
    inner = _arc(cx, cy, rx - width / 2, ry - width / 2, 0, 360, 29)
    return [outer + inner[::-1]]


def star(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """cx cy outer inner points: alternating radii, the first point up; option r rounds the tips."""
    cx, cy, outer, inner, points = _exactly(numbers, 5, "cx cy outer inner points")
    count = int(points)
    angles = [math.radians(90 + 180 * i / count) for i in range(2 * count)]
    radii = [outer if i % 2 == 0 else inner for i in range(2 * count)]
    corners = [(cx + r * math.cos(a), cy + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]
    return [_rounded(corners, options.get("r", 0.0))]


def _fraction(index: int, prime: int) -> float:
    """Halton's low-discrepancy sequence: evenly scattered without randomness."""
    value, share = 0.0, 1.0 / prime
    while index:
        value += share * (index % prime)
        index //= prime
        share /= prime
    return value


def spots(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """count radius x0 y0 x1 y1: dots scattered evenly over a rectangle (clip them with `in`)."""
    count, radius, x0, y0, x1, y1 = _exactly(numbers, 6, "count radius x0 y0 x1 y1")
    rings = []
    for i in range(1, int(count) + 1):
        reach = radius * (0.7 + 0.6 * _fraction(i, 5))
        cx, cy = x0 + (x1 - x0) * _fraction(i, 2), y0 + (y1 - y0) * _fraction(i, 3)
        rings.append(_arc(cx, cy, reach, reach * 0.9, 0, 330, 12))
    return rings


def stripes(numbers: Sequence[float], options: Mapping[str, float]) -> list[Ring]:
    """count width angle x0 y0 x1 y1: parallel bands over a rectangle; angle 0 stands upright (clip them with `in`)."""
    count, width, angle, x0, y0, x1, y1 = _exactly(numbers, 7, "count width angle x0 y0 x1 y1")
    slope = math.tan(math.radians(angle))
    level = abs(angle) > 60
    rings: list[Ring] = []
    for i in range(int(count)):
        t = (i + 0.5) / count
        if level:
            y = y0 + (y1 - y0) * t
            rise = (x1 - x0) / slope if abs(slope) > 1e-9 and abs(angle) != 90 else 0.0
            rings.append([(x0, y), (x1, y + rise), (x1, y + rise + width), (x0, y + width)])
        else:
            x = x0 + (x1 - x0) * t
            lean = (y1 - y0) * slope
            rings.append([(x, y0), (x + width, y0), (x + width + lean, y1), (x + lean, y1)])
    return rings


SHAPES: dict[str, Callable[[Sequence[float], Mapping[str, float]], list[Ring]]] = {
    "oval": oval,
    "pie": pie,
    "box": box,
    "poly": poly,
    "blob": blob,
    "limb": limb,
    "line": line,
    "dashes": dashes,
    "curve": curve,
    "ring": ring,
    "star": star,
    "spots": spots,
    "stripes": stripes,
}
