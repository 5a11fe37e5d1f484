from __future__ import annotations

import numpy as np
import pytest

from scenes.shapes.grammar import Drawing, expand
from scenes.shapes.posing import PART_SCALE, STRETCH, bounds, build_template, shape_points

POST = expand(
    {
        "groups": {"top": "0 40"},
        "parts": ["box main -5 0 5 40", "oval red 0 45 5 5 g=top f=0,40"],
        "poses": {"leaning": {"all": -20}, "nodding": {"top": [0, 10, 0]}, "flying": {"air": True, "all": [0, 0, 9]}},
    },
    {},
)


def _extent(drawing: Drawing, roundness: float = 0.5, elongation: float = 0.5, part_scale: float = 0.5) -> list[float]:
    """(width, height) in heights of the neutral pose."""
    points, _ = shape_points(build_template(drawing, "", ""), roundness, elongation, part_scale)
    return (points.max(axis=0) - points.min(axis=0)).tolist()  # type: ignore[no-any-return]


def test_a_pose_turns_groups_about_their_pivots() -> None:
    assert bounds(POST, "standing") == pytest.approx((-5, 0, 5, 50), abs=0.1)
    assert bounds(POST, "nodding")[2] == pytest.approx(15, abs=0.1)
    assert bounds(POST, "leaning")[2] > 15


def test_parts_are_mirrored_repeated_and_turned() -> None:
    parts = ["box main 10 0 20 10 mir=0", "box main 0 0 2 2 rep=3,10,0", "box main 0 30 2 32 around=4,0,0"]
    drawing = expand({"parts": parts}, {})
    assert bounds(drawing, "") == pytest.approx((-32, -32, 32, 32), abs=0.1)
    assert len(build_template(drawing, "", "").pieces) == 2 + 3 + 4


def test_a_template_is_in_heights_of_the_neutral_pose_and_knows_flying_poses() -> None:
    assert _extent(POST) == pytest.approx([10 / 50, 1.0], abs=0.01)
    assert not build_template(POST, "", "leaning").off_ground
    assert build_template(POST, "", "flying").off_ground


def test_parts_are_drawn_in_their_poses_only_and_clipped_ones_do_not_widen_the_bounds() -> None:
    lines = ["box main 0 0 10 10", "box red 0 0 30 10 in", "box blue 0 0 20 10 only=up"]
    drawing = expand({"parts": lines, "poses": {"up": {"all": 0}}}, {})
    assert bounds(drawing, "") == (0, 0, 10, 10)
    assert bounds(drawing, "up") == (0, 0, 20, 10)
    clipped = build_template(drawing, "", "").pieces[1]
    assert clipped.clip == ((0, build_template(drawing, "", "").pieces[0].stop),)


def test_elongation_makes_tall_drawings_taller_and_thinner() -> None:
    (width, height), (wide, tall) = _extent(POST), _extent(POST, elongation=1.0)
    assert (tall / height, wide / width) == pytest.approx((STRETCH, 1 / STRETCH), rel=1e-3)
    assert build_template(expand({"parts": ["box main 0 0 40 10"]}, {}), "", "").stretch_x


def test_part_scale_moves_feature_points_away_from_their_anchor() -> None:
    template = build_template(POST, "", "")
    usual, _ = shape_points(template, 0.5, 0.5, 0.5)
    grown, growth = shape_points(template, 0.5, 0.5, 1.0)
    feature = template.feature[:, 0] == 1
    np.testing.assert_array_equal(usual[~feature], grown[~feature])
    np.testing.assert_allclose(grown[feature, 1] - 0.8, (usual[feature, 1] - 0.8) * PART_SCALE, atol=1e-5)
    np.testing.assert_allclose(growth[feature], PART_SCALE, atol=1e-5)


def test_roundness_changes_the_outline_in_both_directions() -> None:
    template = build_template(POST, "", "")
    neutral = shape_points(template, 0.5, 0.5, 0.5)[0]
    for roundness in (0.0, 1.0):
        assert abs(shape_points(template, roundness, 0.5, 0.5)[0] - neutral).max() > 0.01
