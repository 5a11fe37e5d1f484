"""Colours as RGB: those of an object and of the names in its drawing, and a scene's light as a lookup table.

Calculated with Python floats only, so that the bytes are the same on every machine.
"""

from __future__ import annotations

import colorsys
import functools

import numpy as np
from numpy.typing import NDArray

from scenes.shapes.colors import explicit_color
from scenes.shapes.grammar import Drawing
from scenes.world.scene import SceneObject

RGB = tuple[int, int, int]
HSL = tuple[float, float, float]
# For each light: factors of red, green and blue, and then the values to add, of 255.
LIGHT: dict[str, tuple[tuple[float, float, float], tuple[int, int, int]]] = {
    "day": ((1.0, 1.0, 1.0), (0, 0, 0)),
    "dusk": ((0.96, 0.77, 0.68), (12, 2, 8)),
    "night": ((0.46, 0.52, 0.72), (2, 5, 18)),
    "overcast": ((0.70, 0.73, 0.76), (26, 28, 31)),
}


def to_rgb(color: HSL) -> RGB:
    """RGB with channels in 0..255 of an HSL colour; saturation and lightness are clipped to 0..1."""
    hue, saturation, lightness = color
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, min(max(lightness, 0.0), 1.0), min(max(saturation, 0.0), 1.0))
    return int(red * 255 + 0.5), int(green * 255 + 0.5), int(blue * 255 + 0.5)


def _roles(thing: SceneObject) -> dict[str, HSL]:
    hue, saturation, lightness = thing.hue, thing.saturation, 0.07 + 0.86 * thing.lightness
    return {
        "main": (hue, saturation, lightness),
        "dark": (hue, saturation, lightness * 0.62),
        "light": (hue, saturation * 0.9, lightness + (1 - lightness) * 0.42),
        "pale": (hue, saturation * 0.55, lightness + (1 - lightness) * 0.74),
        "belly": (hue, saturation * 0.5, lightness + (1 - lightness) * 0.6),
        "accent": (hue + 0.5, max(saturation, 0.45), 0.42 + 0.25 * (lightness < 0.4)),
    }


@functools.lru_cache(maxsize=4096)
def tones(color: HSL) -> tuple[RGB, RGB, RGB]:
    """(outline, shaded, lit) of a colour."""
    hue, saturation, lightness = color
    outline = (hue, saturation * 0.9, lightness * 0.42)
    shaded = (hue, saturation, lightness * 0.83)
    lit = (hue, saturation, lightness + (1 - lightness) * 0.06)
    return to_rgb(outline), to_rgb(shaded), to_rgb(lit)


class ObjectColors:
    """The colours of one object by the names in its drawing, each calculated once."""

    def __init__(self, thing: SceneObject, drawing: Drawing) -> None:
        self._roles = _roles(thing)
        self._named = drawing.colors
        self._tones: dict[tuple[str, float], tuple[RGB, RGB, RGB]] = {}

    def _resolve(self, name: str, depth: int = 0) -> HSL:
        if name in self._named and depth < 4:
            inner, _, factor = self._named[name].partition(":")
            if inner != name:
                hue, saturation, lightness = self._resolve(inner, depth + 1)
                return hue, saturation, lightness * float(factor)
        return self._roles.get(name) or explicit_color(name) or (0.0, 0.0, 0.5)

    def tones(self, name: str, shade: float) -> tuple[RGB, RGB, RGB]:
        """(outline, shaded, lit) of a drawing's colour with a factor on its lightness."""
        key = (name, shade)
        if key not in self._tones:
            hue, saturation, lightness = self._resolve(name)
            lightness = lightness * shade if shade <= 1 else 1 - (1 - lightness) / shade
            self._tones[key] = tones((round(hue % 1.0, 4), round(saturation, 4), round(lightness, 4)))
        return self._tones[key]


@functools.cache
def light_table(light: str) -> NDArray[np.uint8]:
    """Table [1, 256, 3] that maps the values of each channel to those under a light."""
    factors, added = LIGHT[light]
    table = [[min(255, int(value * factors[c] + added[c] + 0.5)) for c in range(3)] for value in range(256)]
    return np.array(table, dtype=np.uint8)[None]
