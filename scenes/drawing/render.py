"""Renders a scene: its image, mask and boxes, and the pixels that each object may have changed.

The same scene gives the same bytes in every process and on every machine: rasterization works on integers, and random
numbers depend only on the scene's seeds. An object changes no pixel outside its extent, so editing one object keeps all
other pixels.
"""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.drawing.backgrounds import CIRCLE, draw_background
from scenes.drawing.paint import SHIFT, Image, Layer, look_up, paint
from scenes.drawing.palette import ObjectColors, light_table
from scenes.shapes.posing import Template, build_template
from scenes.world.catalog import ObjectType, load_catalog
from scenes.world.scene import Scene, SceneObject

SOLID = 128  # coverage, of 255, from which a pixel belongs to an object


@dataclasses.dataclass(frozen=True)
class Rendered:
    """The result of `render`; s is the image's size, n the number of objects."""

    image: Image  # [s, s, 3] RGB
    mask: Image  # [s, s]: 0 background, i + 1 scene.objects[i]
    boxes: NDArray[np.float32]  # [n, 4] x0 y0 x1 y1 in pixels of the visible part; zeros where nothing is visible
    visible: NDArray[np.float32]  # [n] visible share of the silhouette; the part outside the image counts as hidden
    extents: NDArray[np.bool_]  # [n, s, s] pixels that the object or its shadow may have changed


@functools.lru_cache(maxsize=4096)
def _template(name: str, pose: str) -> Template:
    kind = load_catalog().types[name]
    return build_template(kind.drawing, kind.poses[0], pose)


def drawn_pose(kind: ObjectType, pose: str) -> str:
    """The pose to draw: the neutral one instead of a pose that the type does not have."""
    return pose if pose in kind.poses or pose in kind.drawing.poses else kind.poses[0]


def _shadow(
    image: Image, extent: NDArray[np.bool_], thing: SceneObject, layer: Layer, off_ground: bool, size: int
) -> None:
    """Darken the ground under an object by three nested ellipses; `extent` gets the changed pixels."""
    x0, y0, x1, y1 = layer.box
    width, height = x1 - x0, y1 - y0
    reach = max(1.5, (0.34 if off_ground else 0.46) * width)
    depth = max(1.0, min(0.2 * reach, 0.16 * height + 1))
    centre_x, centre_y = 0.5 * (x0 + x1), y1 - 0.35 * depth + (0.22 * height if off_ground else 0.0)
    left, top = int(centre_x - 1.2 * reach) - 2, int(centre_y - 1.3 * depth) - 2
    right, bottom = int(centre_x + 1.2 * reach) + 3, int(centre_y + 1.3 * depth) + 3
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, size), min(bottom, size)
    if right <= left or bottom <= top:
        return
    shade = np.zeros((bottom - top, right - left), np.uint8)
    centre = np.array([centre_x - left - 0.5, centre_y - top - 0.5])
    for share, power in ((1.2, 26), (1.0, 58), (0.8, 92)):
        ring = centre + CIRCLE * np.array([reach * share, depth * share])
        points = np.rint(ring * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(shade, [points], (power // 2 if off_ground else power,), cv2.LINE_AA, SHIFT)
    part = image[top:bottom, left:right]
    dark = 256 - shade.astype(np.uint16)[:, :, None]
    part[:] = (part * dark) >> 8
    extent[top:bottom, left:right] |= shade > 0


def _composite(image: Image, layer: Layer, size: int) -> tuple[slice, slice, slice, slice] | None:
    """Draw a layer over the image; returns the changed rows and columns of the image, then those of the layer.

    None when the layer lies outside the image.
    """
    rows, columns = layer.rgba.shape[:2]
    y0, x0 = max(layer.top, 0), max(layer.left, 0)
    y1, x1 = min(layer.top + rows, size), min(layer.left + columns, size)
    if y1 <= y0 or x1 <= x0:
        return None
    top, left = layer.top, layer.left
    inside = slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    source = layer.rgba[inside[2], inside[3]]
    part = image[inside[0], inside[1]]
    under = part * (255 - source[:, :, 3:].astype(np.uint16)) + 127
    part[:] = source[:, :, :3] + (under // 255).astype(np.uint8)
    return inside


def render(scene: Scene, size: int = 96) -> Rendered:
    """Draw a scene at `size` x `size` pixels. Raises KeyError for a type or place that is not in the catalog."""
    catalog = load_catalog()
    count = len(scene.objects)
    image = draw_background(catalog.places[scene.place], scene.light, scene.view, scene.background, size)
    mask = np.zeros((size, size), np.uint8)
    extents = np.zeros((count, size, size), np.bool_)
    silhouettes = [0] * count
    order = sorted(range(count), key=lambda i: (-scene.objects[i].depth, i))
    for index in order:
        thing = scene.objects[index]
        kind = catalog.types[thing.type]
        template = _template(thing.type, drawn_pose(kind, thing.pose))
        layer = paint(thing, template, ObjectColors(thing, kind.drawing), thing.size * kind.size, size)
        if kind.support in ("ground", "floor", "table"):
            _shadow(image, extents[index], thing, layer, template.off_ground, size)
        solid = layer.rgba[:, :, 3] >= SOLID
        silhouettes[index] = int(np.count_nonzero(solid))
        inside = _composite(image, layer, size)
        if inside is not None:
            rows, columns, layer_rows, layer_columns = inside
            mask[rows, columns][solid[layer_rows, layer_columns]] = index + 1
            extents[index, rows, columns] |= layer.rgba[layer_rows, layer_columns, 3] > 0
    if scene.light != "day":
        image = look_up(image, light_table(scene.light))
    boxes = np.zeros((count, 4), np.float32)
    visible = np.zeros(count, np.float32)
    counts = np.bincount(mask.ravel(), minlength=count + 1)
    for index in range(count):
        if counts[index + 1]:
            visible[index] = min(1.0, counts[index + 1] / silhouettes[index])
            found = mask == index + 1
            rows_found = np.flatnonzero(found.any(axis=1))
            columns_found = np.flatnonzero(found.any(axis=0))
            boxes[index] = (columns_found[0], rows_found[0], columns_found[-1] + 1, rows_found[-1] + 1)
    return Rendered(image, mask, boxes, visible, extents)
