"""Operations on closed outlines: normals, thickness, and the morphs to an angular and to a round version.

An outline is a float64 array [n, 2], counter-clockwise, y pointing up.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scenes.shapes.primitives import Ring

Points = NDArray[np.float64]

MITER = 1.6  # limit of how far a corner may be pushed out, as a multiple of the offset
GRID = float(1 << 20)


def on_grid(values: Points) -> Points:
    """Values rounded to 2**-20, so that the last bits, which differ between libraries, do not decide a pixel."""
    rounded_values: Points = np.rint(values * GRID) / GRID
    return rounded_values


def _ahead(points: Points) -> Points:
    """The next point of each point around the ring (np.roll is several times slower)."""
    return np.concatenate([points[1:], points[:1]])


def _behind(points: Points) -> Points:
    return np.concatenate([points[-1:], points[:-1]])


def area(points: Points) -> float:
    """Signed area; positive for counter-clockwise rings."""
    following = _ahead(points)
    return float(0.5 * (points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum())


def subdivide(ring_points: Ring, least: int) -> Points:
    """Counter-clockwise ring [n, 2] of at least `least` points; long edges are divided, corners are kept."""
    points = np.array(ring_points, dtype=np.float64)
    if area(points) < 0:
        points = points[::-1]
    if len(points) >= least:
        return points
    following = _ahead(points)
    delta = following - points
    lengths = np.sqrt(delta[:, 0] * delta[:, 0] + delta[:, 1] * delta[:, 1])
    unit = float(lengths.sum()) / least or 1.0
    pieces: list[Points] = []
    for i in range(len(points)):
        cuts = max(1, round(float(lengths[i]) / unit))
        pieces.extend(points[i] + delta[i] * (step / cuts) for step in range(cuts))
    return np.array(pieces)


def normals(points: Points) -> Points:
    """Outward direction [n, 2] at each point of a counter-clockwise ring; longer at corners to keep edges parallel."""
    ahead = _ahead(points) - points
    length = np.sqrt(ahead[:, 0] * ahead[:, 0] + ahead[:, 1] * ahead[:, 1])
    length[length == 0] = 1.0
    after = np.stack([ahead[:, 1] / length, -ahead[:, 0] / length], axis=1)
    both = after + _behind(after)
    squared = (both[:, 0] * both[:, 0] + both[:, 1] * both[:, 1])[:, None]
    squared = np.maximum(squared, 2.0 / MITER)
    scaled: Points = both * (2.0 / squared)
    return scaled


def thickness(points: Points) -> float:
    """Twice the area over the perimeter: the radius of a disc, the width of a band."""
    delta = _ahead(points) - points
    perimeter = float(np.sqrt(delta[:, 0] * delta[:, 0] + delta[:, 1] * delta[:, 1]).sum())
    return 2 * abs(area(points)) / perimeter if perimeter else 0.0


def faceted(points: Points, corners: int) -> Points:
    """The points moved onto the polygon through `corners` of them, and scaled to keep the ring's area."""
    count = len(points)
    if count <= corners:
        return points.copy()
    chosen = [(i * count) // corners for i in range(corners)]
    result = points.copy()
    for k, start in enumerate(chosen):
        stop = chosen[k + 1] if k + 1 < corners else count
        first, last = points[start], points[stop % count]
        result[start:stop] = first + (last - first) * (np.arange(stop - start) / (stop - start))[:, None]
    centre = points.mean(axis=0)
    shrunk = abs(area(result))
    growth = min(1.25, math.sqrt(abs(area(points)) / shrunk)) if shrunk else 1.0
    grown: Points = centre + (result - centre) * growth
    return grown


def rounded(points: Points) -> Points:
    """The ring smoothed and slightly enlarged: boxes become cushions, limbs become thicker."""
    smooth = points
    for _ in range(max(2, len(points) // 5)):
        smooth = 0.5 * smooth + 0.25 * (_behind(smooth) + _ahead(smooth))
    reach_before = points.max(axis=0) - points.min(axis=0)
    reach_after = smooth.max(axis=0) - smooth.min(axis=0)
    reach_after[reach_after == 0] = 1.0
    centre = 0.5 * (points.max(axis=0) + points.min(axis=0))
    middle = 0.5 * (smooth.max(axis=0) + smooth.min(axis=0))
    smooth = centre + (smooth - middle) * (reach_before / reach_after)
    swollen: Points = smooth + normals(smooth) * (0.16 * thickness(points))
    return swollen
