from __future__ import annotations

import numpy as np

from scenes.drawing.backgrounds import CLOUD_TONES, CLOUDS, OUTSIDE, SKIES, draw_background
from scenes.shapes.colors import explicit_color
from scenes.world.catalog import LIGHTS, VIEWS, horizon, load_catalog
from scenes.world.scene import Background

PLACES = load_catalog().places


def test_every_place_is_drawn_in_its_own_way() -> None:
    seen = {draw_background(place, "day", "eye-level", Background(), 48).tobytes() for place in PLACES.values()}
    assert len(seen) == len(PLACES)


def test_a_background_is_a_new_array_each_time() -> None:
    first = draw_background(PLACES["meadow"], "day", "eye-level", Background(3), 32)
    before = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(draw_background(PLACES["meadow"], "day", "eye-level", Background(3), 32), before)


def test_the_seed_changes_the_decor_and_the_tint_all_colors() -> None:
    meadow = PLACES["meadow"]
    plain, other, warm = (
        draw_background(meadow, "day", "eye-level", background, 64).astype(int)
        for background in (Background(), Background(seed=1), Background(tint=1.0))
    )
    assert 0 < (plain != other).any(axis=2).mean() < 0.9
    assert (warm - plain)[..., 0].mean() > 5
    assert (warm - plain)[..., 2].mean() < -5


def test_a_view_moves_the_horizon() -> None:
    """The row with the largest change of colour is near the horizon of the view."""
    for view in VIEWS:
        image = draw_background(PLACES["sea"], "day", view, Background(), 96).astype(int)
        rows = np.abs(np.diff(image.mean(axis=1), axis=0)).sum(axis=1)
        assert abs(int(rows.argmax()) - horizon(PLACES["sea"], view) * 96) < 4


def test_every_light_has_its_sky_clouds_and_window() -> None:
    assert set(SKIES) == set(LIGHTS) - {"day"}
    assert set(OUTSIDE) == set(CLOUDS) == set(LIGHTS)
    assert {light for light, count in CLOUDS.items() if count} == set(CLOUD_TONES)
    colors = [*OUTSIDE.values(), *(color for sky in SKIES.values() for color in sky)]
    assert all(explicit_color(color) for color in colors)
