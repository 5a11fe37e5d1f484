"""Draws one object as a layer with transparency: outline, two tones a part, soft light, surface and highlight.

Objects are drawn at twice the resolution with integer rasterization on coordinates rounded to 1/16 pixel, and then
halved, so that the bytes are the same on every machine. Colours are premultiplied by coverage.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.drawing.palette import RGB, ObjectColors
from scenes.shapes.posing import Piece, Template, shape_points
from scenes.world.scene import SceneObject

cv2.setNumThreads(1)

OVERSAMPLE = 2
SHIFT = 4  # bits of a pixel's fraction
OUTLINE = 0.0075  # of the image's height
# Oversampled pixels by which an anti-aliased fill extends over its outline; subtracted, or small objects look thick.
ROUND_UP = 0.75
# Shares of a part's thickness: how far the lit side is inset, and how far it is shifted towards the light.
LIT_INSET, LIT_SHIFT = 0.17, 0.13
Image = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A drawn object and its position in the image."""

    rgba: Image  # uint8 [h, w, 4], premultiplied
    left: int  # pixels
    top: int
    box: tuple[float, float, float, float]  # x0 y0 x1 y1 of the outlines, in pixels


def halve(image: Image) -> Image:
    """The mean of each 2 x 2 block of a uint8 image with even sides, rounded half up."""
    rows, columns = image.shape[:2]
    small: Image = np.asarray(cv2.resize(image, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return small


def look_up(image: Image, table: Image) -> Image:
    """An image [h, w, 3] with the values of each channel replaced by those of table [1, 256, 3]."""
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _hash_noise(rows: int, columns: int, seed: int) -> Image:
    """[rows, columns] uint8 of integer-hashed white noise."""
    y = np.arange(rows, dtype=np.uint32)[:, None]
    x = np.arange(columns, dtype=np.uint32)[None]
    h = x * np.uint32(0x9E3779B1) + y * np.uint32(0x85EBCA77) + np.uint32((seed * 0xC2B2AE3D) & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return (h >> np.uint32(24)).astype(np.uint8)


def surface_noise(height: int, width: int, cell: float, seed: int) -> NDArray[np.int16]:
    """Value noise [height, width] in -128..127 of two octaves; cells of the coarse one have `cell` pixels."""
    total = np.zeros((height, width), np.int16)
    for octave, (size, weight) in enumerate(((cell, 1), (cell * 0.45, 1))):
        rows, columns = max(2, round(height / size) + 1), max(2, round(width / size) + 1)
        grain = _hash_noise(rows, columns, seed * 2 + octave)
        smooth = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        total += (smooth.astype(np.int16) - 128) * np.int16(weight)
    return np.clip(total, -128, 127)


def _fill(canvas: Image, ring: NDArray[np.int32], color: tuple[int, ...]) -> None:
    cv2.fillPoly(canvas, [ring], color, cv2.LINE_AA, SHIFT)


def _draw_piece(
    canvas: Image, rings: NDArray[np.int32], piece: Piece, tones: tuple[RGB, RGB, RGB], outline: bool, large: bool
) -> None:
    span = slice(piece.start, piece.stop)
    if outline:
        _fill(canvas, rings[0, span], (*tones[0], 255))
    if piece.part.flat or not large:
        _fill(canvas, rings[1, span], (*tones[2], 255))
    else:
        _fill(canvas, rings[1, span], (*tones[1], 255))
        _fill(canvas, rings[2, span], (*tones[2], 255))


def _draw_pieces(
    rings: NDArray[np.int32], template: Template, colors: ObjectColors, shape: tuple[int, int], unit: float
) -> Image:
    """All pieces [h, w, 4] at the oversampled resolution; rings [3, n, 2]: outlines, fills and lit sides."""
    canvas = np.zeros((*shape, 4), np.uint8)
    pieces = template.pieces
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        part = piece.part
        run = [piece]
        while index + len(run) < len(pieces):
            other = pieces[index + len(run)]
            alike = piece.clip and other.clip == piece.clip and other.part.alpha == part.alpha
            if other.part is not part and not alike:
                break
            run.append(other)
        index += len(run)
        plain = not piece.clip and part.alpha >= 1
        target = canvas if plain else canvas.copy()
        for one in run:
            shade = one.part.shade * (0.74 if one.part.far else 1.0)
            tones = colors.tones(one.part.color, shade)
            outlined = one.part.outlined and not one.part.flat and not one.clip
            _draw_piece(target, rings, one, tones, outlined, one.thickness * unit > 2.5 and not one.clip)
        if plain:
            continue
        if part.alpha < 1:
            share = np.int32(round(part.alpha * 256))
            before = canvas.astype(np.int32)
            target = (before + (((target - before) * share) >> 8)).astype(np.uint8)
        if piece.clip:
            inside = np.zeros(shape, np.uint8)
            for start, stop in piece.clip:
                cv2.fillPoly(inside, [rings[1, start:stop]], (255,), cv2.LINE_8, SHIFT)
            cv2.copyTo(target, inside, canvas)
        else:
            canvas = target
    return canvas


def _highlights(rings: NDArray[np.int32], template: Template, shape: tuple[int, int], gloss: float) -> Image:
    """The strength of the highlight [h, w] at each pixel: a bright spot on the upper left of the larger parts."""
    glow = np.zeros(shape, np.uint8)
    large = [p for p in template.pieces if p.thickness > 0.05 and not p.part.flat and not p.clip]
    for piece in sorted(large, key=lambda p: -p.thickness)[:6]:
        ring = rings[1, piece.start : piece.stop]
        low, high = ring.min(axis=0), ring.max(axis=0)
        centre, half = (low + high) >> 1, (high - low) >> 1
        for share, power in ((40, 0.45), (24, 1.0)):
            spot = centre + (((ring - centre) * np.array([share, share * 3 // 4])) >> 7) - ((half * 45) >> 7)
            _fill(glow, spot.astype(np.int32), (int(255 * gloss * power),))
    return glow


def paint(thing: SceneObject, template: Template, colors: ObjectColors, unit_height: float, size: int) -> Layer:
    """Draw an object for an image of `size` x `size` pixels.

    unit_height: height of the neutral pose as a fraction of the image's.
    """
    points, growth = shape_points(template, thing.roundness, thing.elongation, thing.part_scale)
    unit = unit_height * size * OVERSAMPLE
    low, high = points.min(axis=0), points.max(axis=0)
    width = OUTLINE * size * OVERSAMPLE
    width = min(width, 0.03 * unit)
    stacked = np.empty((3, *points.shape))
    stacked[0] = points + template.normals * ((width - ROUND_UP) / unit)
    stacked[1] = points - template.normals * (ROUND_UP / unit)
    stacked[2] = points - template.normals * (template.reach * growth * LIT_INSET + ROUND_UP / unit)
    flip = 1.0 if thing.facing == "right" else -1.0
    centre = 0.5 * (low[0] + high[0])
    stacked -= np.array([centre, low[1]])
    stacked *= np.array([flip * unit, -unit])
    stacked[2] -= template.reach * growth * (LIT_SHIFT * unit)
    stacked += np.array([thing.x * size * OVERSAMPLE - 0.5, thing.y * size * OVERSAMPLE - 0.5])

    # The layer's frame on even oversampled pixels, cut half an image beyond the edges.
    low, high = stacked[0].min(axis=0), stacked[0].max(axis=0)
    edge = OVERSAMPLE * size
    left = int(max(-edge // 2, low[0] - 3)) // 2 * 2
    top = int(max(-edge // 2, low[1] - 3)) // 2 * 2
    right = min(edge + edge // 2, int(high[0]) + 4)
    bottom = min(edge + edge // 2, int(high[1]) + 4)
    columns, rows = max(2, right - left + 1) // 2, max(2, bottom - top + 1) // 2
    stacked -= np.array([left, top])
    rings = np.rint(stacked * (1 << SHIFT)).astype(np.int32)
    canvas = _draw_pieces(rings, template, colors, (rows * 2, columns * 2), unit)
    rgba = halve(canvas)

    # Soft light: brighter above. Colours are premultiplied, so a factor below 1 keeps colour <= coverage.
    ramp = 256 - (np.arange(rows, dtype=np.int32) * 52) // rows
    color = (rgba[:, :, :3].astype(np.int32) * ramp[:, None, None]) >> 8
    alpha = rgba[:, :, 3:].astype(np.int32)
    if thing.roughness > 0.02:
        cell = max(1.5, 0.055 * unit / OVERSAMPLE)
        noise = surface_noise(rows, columns, cell, thing.seed)[:, :, None].astype(np.int32)
        strength = int(thing.roughness * 150)
        darker = (color * np.minimum(noise, 0) * strength) >> 15
        lighter = ((alpha - color) * np.maximum(noise, 0) * strength) >> 16
        color = color + darker + lighter
    if thing.gloss > 0.02:
        glow = _highlights(rings, template, (rows * 2, columns * 2), thing.gloss)
        shine = halve(glow)[:, :, None].astype(np.int32)
        color = color + (((alpha - color) * shine) >> 8)
    rgba[:, :, :3] = color
    x0, y0 = (low[0] + 0.5) / 2, (low[1] + 0.5) / 2
    return Layer(rgba, left // 2, top // 2, (x0, y0, (high[0] + 0.5) / 2, (high[1] + 0.5) / 2))
