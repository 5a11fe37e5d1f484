from __future__ import annotations

import pytest

from scenes.comparing.axes import AXES, COLORED, GLOBAL_AXES, LOCAL_AXES, SUBTLE, THRESHOLDS, hue_shift, hue_shows
from scenes.world.scene import ATTRIBUTES, Scene


def test_every_attribute_of_an_object_is_an_axis_with_a_threshold() -> None:
    assert set(ATTRIBUTES) | {"size"} == set(SUBTLE)
    assert set(SUBTLE) <= set(THRESHOLDS)
    assert set(SUBTLE.values()) == {"color", "shape", "texture"}


def test_axes_are_local_or_global_and_the_global_ones_are_fields_of_a_scene() -> None:
    assert len(set(AXES)) == len(LOCAL_AXES) + len(GLOBAL_AXES)
    assert set(GLOBAL_AXES) <= set(Scene.__dataclass_fields__)


@pytest.mark.parametrize(("before", "after", "shift"), [(0.9, 0.1, 0.2), (0.1, 0.9, -0.2), (0.3, 0.5, 0.2), (0, 0, 0)])
def test_a_hue_shift_takes_the_shortest_way_around_the_circle(before: float, after: float, shift: float) -> None:
    assert hue_shift(before, after) == pytest.approx(shift)


def test_a_hue_shows_in_colorful_colors_only() -> None:
    assert hue_shows(0.8, 0.5)
    assert not hue_shows(0.05, 0.5)
    assert not hue_shows(0.8, 0.97)


def test_chroma_decides_whether_a_hue_shows() -> None:
    assert hue_shows(COLORED, 0.5)
    assert not hue_shows(COLORED - 0.01, 0.5)
