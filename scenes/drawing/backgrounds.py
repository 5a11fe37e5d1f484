"""Draws the place behind the objects: sky or wall, ground and decor, for a light and a view.

A place is data (catalog/places.json): two gradients, a fixed backdrop, and stamps, which are small drawings scattered
by the scene's background seed. Its parts are lines of the drawing grammar with x from 0 to 100 across the image and y
measured from the horizon: upwards in hundredths of the image's height, downwards in hundredths of the ground's. So a
lower or higher view moves the horizon and squeezes the ground. The backdrop is drawn once for each place, light, view
and size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.drawing.paint import OVERSAMPLE, SHIFT, Image, halve, look_up, surface_noise
from scenes.drawing.palette import RGB, to_rgb
from scenes.shapes.colors import explicit_color
from scenes.shapes.grammar import Part
from scenes.shapes.outlines import Points, on_grid
from scenes.shapes.posing import part_rings
from scenes.world.catalog import Place, Stamp, horizon, load_catalog
from scenes.world.scene import Background
from scenes.world.seeded_random import UniformStream

# Sky colours (top, bottom) of each light before palette.LIGHT is applied; by day the place's own colours.
SKIES = {
    "dusk": ("hsl(0.72,0.38,0.52)", "hsl(0.09,0.95,0.72)"),
    "night": ("hsl(0.64,0.60,0.20)", "hsl(0.61,0.50,0.42)"),
    "overcast": ("hsl(0.58,0.06,0.60)", "hsl(0.58,0.06,0.78)"),
}
OUTSIDE = {  # seen through a window
    "day": "hsl(0.55,0.6,0.82)",
    "dusk": "hsl(0.06,0.9,0.74)",
    "night": "hsl(0.64,0.6,0.24)",
    "overcast": "hsl(0.58,0.05,0.72)",
}
# dx, dy and reach of a cloud's puffs, as shares of its width.
PUFFS = ((-0.34, 0.02, 0.13), (-0.15, -0.06, 0.19), (0.08, -0.1, 0.22), (0.28, -0.02, 0.16), (0.42, 0.04, 0.1))
STARS, CLOUDS = 26, {"day": 3, "dusk": 3, "night": 0, "overcast": 6}

CLOUD_TONES = {
    "day": ((252, 253, 255), (222, 232, 244)),
    "dusk": ((250, 200, 170), (222, 150, 150)),
    "overcast": ((222, 224, 228), (176, 180, 186)),
}


def _rgb(token: str, light: str, shade: float = 1.0) -> RGB:
    color = explicit_color(OUTSIDE[light] if token == "outside" else token) or (0.0, 0.0, 0.5)
    return to_rgb((color[0], color[1], color[2] * shade))


def _gradient(image: Image, top: RGB, bottom: RGB) -> None:
    rows = len(image)
    if rows:
        steps = np.arange(rows, dtype=np.int32)[:, None] * 2 + 1
        first, last = np.array(top, np.int32), np.array(bottom, np.int32)
        image[:] = (first + (last - first) * steps // (2 * rows)).astype(np.uint8)[:, None]


def _fill(image: Image, points: Points, color: RGB) -> None:
    cv2.fillPoly(image, [np.rint(points * (1 << SHIFT)).astype(np.int32)], color, cv2.LINE_AA, SHIFT)


def _place_points(points: Points, edge: float, size: int) -> Points:
    """Backdrop coordinates [n, 2] to pixels; `edge` is the horizon as a fraction of the image's height."""
    y = points[:, 1]
    rows = np.where(y >= 0, edge - y / 100, edge - y / 100 * (1 - edge))
    return np.stack([points[:, 0] * (size / 100), rows * size], axis=1) - 0.5


@functools.lru_cache(maxsize=1024)
def _rings(part: Part) -> tuple[Points, ...]:
    return tuple(on_grid(np.array(ring)) for ring in part_rings(part))


def _cloud(image: Image, x: float, y: float, width: float, color: RGB, below: RGB) -> None:
    """Draw a cloud of five puffs on a flat base; all lengths in pixels."""
    for shift, tone in ((0.035 * width, below), (0.0, color)):
        for dx, dy, reach in PUFFS:
            centre = np.array([x + dx * width, y + dy * width + shift])
            _fill(image, centre + CIRCLE * np.array([reach * width, reach * width * 0.62]), tone)


@functools.lru_cache(maxsize=256)
def _backdrop(name: str, light: str, view: str, size: int) -> tuple[Image, Image]:
    """The part of a background that the seed does not change [size, size, 3], and its open sky [size, size] as 255.

    The light's table is not applied yet.
    """
    place = load_catalog().places[name]
    edge = min(0.98, horizon(place, view))
    large = size * OVERSAMPLE
    image = np.empty((large, large, 3), np.uint8)
    row = round(edge * large)
    top, bottom = SKIES[light] if place.open_sky and light in SKIES else place.sky
    _gradient(image[:row], _rgb(top, light), _rgb(bottom, light))
    _gradient(image[row:], _rgb(place.ground[0], light), _rgb(place.ground[1], light))
    if place.open_sky and light == "night":
        draws = UniformStream(7)
        for _ in range(STARS):
            centre = np.array([draws(0, large), draws(0, 0.8 * edge * large)])
            _fill(image, centre + CIRCLE * (draws(0.003, 0.008) * large), (255, 250, 235))
        moon = np.array([0.82 * large, 0.13 * large])
        _fill(image, moon + CIRCLE * (0.058 * large), (255, 252, 225))
        _fill(image, moon + np.array([0.028, -0.012]) * large + CIRCLE * (0.05 * large), _rgb(SKIES["night"][0], light))
    elif place.open_sky and light == "dusk":
        sun = np.array([0.74 * large, edge * large - 0.03 * large])
        for reach, color in ((0.15, (255, 206, 130)), (0.1, (255, 226, 150)), (0.066, (255, 246, 190))):
            _fill(image[:row], sun + CIRCLE * (reach * large), color)
    elif place.open_sky and light == "day" and place.sun:
        _fill(image, np.array([0.86, 0.12]) * large + CIRCLE * (0.075 * large), (255, 240, 170))
        _fill(image, np.array([0.86, 0.12]) * large + CIRCLE * (0.055 * large), (255, 250, 210))
    free = np.zeros((large, large), np.uint8)
    free[:row] = 255
    for part in place.backdrop:
        for ring in _rings(part):
            points = _place_points(ring, edge, large)
            _fill(image, points, _rgb(part.color, light, part.shade))
            cv2.fillPoly(free, [np.rint(points * (1 << SHIFT)).astype(np.int32)], (0,), cv2.LINE_8, SHIFT)
    small = halve(image)
    row = round(edge * size)
    if place.grain and row < size:
        grain = surface_noise(size - row, size, 0.05 * size, 3)[:, :, None].astype(np.int16) * place.grain // 128
        small[row:] = np.clip(small[row:].astype(np.int16) + grain, 0, 255).astype(np.uint8)
    free = np.ascontiguousarray(free[::OVERSAMPLE, ::OVERSAMPLE])
    small.setflags(write=False)
    free.setflags(write=False)
    return small, free


def _stamp(image: Image, stamp: Stamp, draws: UniformStream, light: str, edge: float, size: int) -> None:
    placed = []
    for _ in range(round(draws(stamp.count[0], stamp.count[1]))):
        placed.append((draws(*stamp.y), draws(*stamp.x), draws(0.8, 1.2), draws() < 0.5))
    for y, x, scale, mirrored in sorted(placed, reverse=True):
        row = edge - y / 100 * (1.0 if y >= 0 else 1 - edge)
        # Things on the ground look smaller towards the horizon.
        near = 1.0 if y >= 0 else 0.35 + 0.65 * min(1.0, -y / 100)
        unit = stamp.height * scale * near * size / 100
        axes = np.array([-unit if mirrored and stamp.flip else unit, -unit])
        foot = np.array([x / 100 * size, row * size])
        for part in stamp.parts:
            color = _rgb(part.color, light, part.shade)
            for ring in _rings(part):
                _fill(image, ring * axes + foot, color)


def draw_background(place: Place, light: str, view: str, background: Background, size: int) -> Image:
    """A background [size, size, 3] RGB, a new array; the light's table (`palette.light_table`) is not applied yet."""
    backdrop, free = _backdrop(place.name, light, view, size)
    image = backdrop.copy()
    edge = min(0.98, horizon(place, view))
    draws = UniformStream(background.seed)
    count = round(CLOUDS[light] * draws(0.5, 1.5)) if place.open_sky else 0
    if count:
        tone, below = CLOUD_TONES[light]
        clouded = image.copy()
        for _ in range(count):
            x, y, width = draws(0, size), draws(0.05, max(0.1, 0.72 * edge - 0.06)) * size, draws(0.16, 0.32) * size
            _cloud(clouded, x, y, width, tone, below)
        cv2.copyTo(clouded, free, image)
    for stamp in place.stamps:
        _stamp(image, stamp, draws, light, edge, size)
    if background.tint:
        shift = np.array([round(14 * background.tint), round(3 * background.tint), round(-14 * background.tint)])
        table = np.clip(np.arange(256)[:, None] + shift, 0, 255).astype(np.uint8)[None]
        image = look_up(image, table)
    return image


def _circle(count: int) -> NDArray[np.float64]:
    turn: Sequence[float] = [2 * math.pi * i / count for i in range(count)]
    return on_grid(np.array([(math.cos(angle), math.sin(angle)) for angle in turn]))


CIRCLE = _circle(24)
