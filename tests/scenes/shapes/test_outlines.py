from __future__ import annotations

import math

import numpy as np
import pytest

from scenes.shapes.outlines import area, faceted, normals, on_grid, rounded, subdivide, thickness
from scenes.shapes.primitives import SHAPES

SQUARE = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]
CIRCLE = np.array(SHAPES["oval"]([0, 0, 10, 10], {})[0])


def test_subdividing_keeps_corners_and_area_and_turns_counter_clockwise() -> None:
    for ring in (SQUARE, SQUARE[::-1]):
        points = subdivide(ring, 20)
        assert len(points) >= 20
        assert area(points) == pytest.approx(100)
        assert {tuple(point) for point in points.tolist()} >= set(SQUARE)


def test_normals_point_outward_and_move_all_edges_evenly() -> None:
    square = np.array(SQUARE)
    np.testing.assert_allclose(square + normals(square), [(-1, -1), (11, -1), (11, 11), (-1, 11)])
    grown = CIRCLE + normals(CIRCLE)
    np.testing.assert_allclose(np.hypot(*grown.T), 11, atol=0.1)


def test_the_thickness_of_a_disc_is_its_radius() -> None:
    assert thickness(CIRCLE) == pytest.approx(10, rel=0.02)
    assert thickness(np.array([(0.0, 0.0), (100.0, 0.0), (100.0, 2.0), (0.0, 2.0)])) == pytest.approx(2, rel=0.03)


def test_a_faceted_circle_has_straight_edges_and_about_the_same_area() -> None:
    angular = faceted(CIRCLE, 4)
    assert area(angular) == pytest.approx(area(CIRCLE), rel=0.05)
    edge = angular[:9] - angular[0]
    directions = np.arctan2(edge[1:8, 1], edge[1:8, 0])
    np.testing.assert_allclose(directions, directions[0], atol=1e-9)
    np.testing.assert_array_equal(faceted(np.array(SQUARE), 4), SQUARE)


def test_a_rounded_square_is_a_cushion() -> None:
    square = subdivide(SQUARE, 20)
    cushion = rounded(square)
    corner = np.hypot(*(cushion - 5).T).max()
    assert corner < math.hypot(5, 5)
    assert cushion[:, 0].max() - cushion[:, 0].min() > 10


def test_points_are_rounded_to_the_grid() -> None:
    assert on_grid(np.array([0.1]))[0] == round(0.1 * 2**20) / 2**20
