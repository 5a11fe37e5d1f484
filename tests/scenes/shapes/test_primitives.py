from __future__ import annotations

import math

import numpy as np
import pytest

from scenes.shapes.primitives import SHAPES, Ring, ShapeError

# Valid numbers of each shape, and how many rings they give.
EXAMPLES: dict[str, tuple[list[float], int]] = {
    "oval": ([0, 0, 20, 10], 1),
    "pie": ([0, 0, 20, 10, 0, 180], 1),
    "box": ([0, 0, 20, 10], 1),
    "poly": ([0, 0, 20, 0, 10, 20], 1),
    "blob": ([0, 0, 20, 0, 20, 20, 0, 20], 1),
    "limb": ([0, 0, 6, 0, 20, 4], 1),
    "line": ([2, 0, 0, 10, 0, 10, 10], 2),
    "dashes": ([2, 0, 0, 10, 0, 0, 5, 10, 5], 2),
    "curve": ([2, 0, 0, 10, 5, 20, 0], 1),
    "ring": ([0, 0, 20, 20, 4], 1),
    "star": ([0, 0, 20, 8, 5], 1),
    "spots": ([7, 2, 0, 0, 20, 20], 7),
    "stripes": ([3, 2, 0, 0, 0, 20, 20], 3),
}


def _area(ring: Ring) -> float:
    x, y = np.array(ring).T
    return float(0.5 * abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_closed_rings_of_finite_points(name: str) -> None:
    numbers, count = EXAMPLES[name]
    rings = SHAPES[name](numbers, {})
    assert len(rings) == count
    for ring in rings:
        assert len(ring) >= 3
        assert np.isfinite(ring).all()
        assert _area(ring) > 0


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_number_of_numbers_is_an_error(name: str) -> None:
    with pytest.raises(ShapeError, match=r"takes|needs"):
        SHAPES[name]([1.0], {})


def test_areas_are_those_of_geometry() -> None:
    assert _area(SHAPES["box"]([0, 0, 20, 10], {})[0]) == 200
    assert _area(SHAPES["oval"]([0, 0, 20, 10], {})[0]) == pytest.approx(math.pi * 200, rel=0.02)
    assert _area(SHAPES["pie"]([0, 0, 20, 10, 0, 180], {})[0]) == pytest.approx(math.pi * 100, rel=0.02)
    assert _area(SHAPES["ring"]([0, 0, 20, 20, 4], {})[0]) == pytest.approx(math.pi * (22**2 - 18**2), rel=0.02)


def test_rounding_cuts_corners_and_keeps_the_extent() -> None:
    rounded = SHAPES["box"]([0, 0, 20, 10], {"r": 3})[0]
    assert 190 < _area(rounded) < 200
    xs, ys = zip(*rounded, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (0, 20, 0, 10)
