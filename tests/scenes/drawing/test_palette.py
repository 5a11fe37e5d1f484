from __future__ import annotations

import numpy as np
import pytest

from scenes.drawing.palette import LIGHT, ObjectColors, light_table, to_rgb, tones
from scenes.shapes.colors import ROLES
from scenes.shapes.grammar import expand
from scenes.world.catalog import LIGHTS
from scenes.world.scene import SceneObject

RED = SceneObject("post", x=0.5, y=0.8, size=1.0, hue=0.0, saturation=0.8, lightness=0.5)


@pytest.mark.parametrize(
    ("color", "rgb"),
    [((0.0, 1.0, 0.5), (255, 0, 0)), ((1 / 3, 1.0, 0.5), (0, 255, 0)), ((0.5, 0.0, 2.0), (255, 255, 255))],
)
def test_hsl_becomes_rgb_and_is_clipped(color: tuple[float, float, float], rgb: tuple[int, int, int]) -> None:
    assert to_rgb(color) == rgb


def test_the_lit_tone_is_lighter_than_the_shaded_one_and_the_outline_is_darkest() -> None:
    outline, shaded, lit = (sum(tone) for tone in tones((0.6, 0.6, 0.5)))
    assert outline < shaded < lit


def test_roles_follow_the_color_of_the_object() -> None:
    colors = ObjectColors(RED, expand({"parts": ["box main 0 0 1 1"]}, {}))
    lit = {role: colors.tones(role, 1.0)[2] for role in ROLES}
    assert lit["main"][0] > max(lit["main"][1:])
    assert sum(lit["dark"]) < sum(lit["main"]) < sum(lit["light"]) < sum(lit["pale"])
    assert lit["accent"][0] < min(lit["accent"][1:])  # the opposite hue
    assert colors.tones("black", 1.0) != colors.tones("white", 1.0)


def test_named_colors_of_a_drawing_resolve_to_roles_with_their_factor() -> None:
    drawing = expand({"parts": ["box mane 0 0 1 1"], "colors": {"mane": "main:0.5", "hoof": "black"}}, {})
    colors = ObjectColors(RED, drawing)
    assert sum(colors.tones("mane", 1.0)[2]) < sum(colors.tones("main", 1.0)[2])
    assert colors.tones("hoof", 1.0) == colors.tones("black", 1.0)
    assert sum(colors.tones("main", 1.5)[2]) > sum(colors.tones("main", 1.0)[2])


def test_the_table_of_daylight_changes_nothing_and_night_is_dark() -> None:
    assert set(LIGHT) == set(LIGHTS)
    np.testing.assert_array_equal(light_table("day")[0], np.repeat(np.arange(256)[:, None], 3, axis=1))
    assert light_table("night").mean() < light_table("dusk").mean() < light_table("day").mean()
