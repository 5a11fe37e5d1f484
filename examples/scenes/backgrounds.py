"""The place behind the objects: sky, ground and decor of a place under a light, seen from a height."""

from __future__ import annotations

import numpy as np

from examples.scenes.catalog import Place, horizon
from examples.scenes.paint import Image
from examples.scenes.scene import Background


def draw_background(place: Place, light: str, view: str, background: Background, size: int) -> Image:
    """[size, size, 3] RGB, a fresh array."""
    image = np.empty((size, size, 3), np.uint8)
    edge = round(horizon(place, view) * size)
    image[:edge] = (176, 214, 240)
    image[edge:] = (134, 186, 98)
    return image
