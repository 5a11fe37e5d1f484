"""The axes along which two scenes can differ: their names, their thresholds, and the attributes that they belong to.

`edit.py` makes a difference along one axis, and `compare.py` finds all differences.
"""

from __future__ import annotations

from scenes.world.words import chroma

# CaD-VI's six axes (its section 3.1).
CAD_AXES = ("object types", "attributes", "counts", "actions", "locations", "relative positions")
# Axis -> the attribute of Subtle-Diff (its table I) that it varies.
SUBTLE = {
    "hue": "color", "saturation": "color", "lightness": "color",
    "roundness": "shape", "elongation": "shape", "part_scale": "shape", "size": "shape",
    "roughness": "texture", "gloss": "texture",
}  # fmt: skip
LOCAL_AXES = ("type", *SUBTLE, "count", "pose", "position")  # change nothing outside the objects concerned
GLOBAL_AXES = ("place", "light", "view")  # change the background, and with it every pixel
AXES = LOCAL_AXES + GLOBAL_AXES
# The smallest difference that is reported, in units of the attribute (size: relative; position: image widths or depth).
THRESHOLDS = {
    "hue": 0.04, "saturation": 0.1, "lightness": 0.06, "roundness": 0.12, "elongation": 0.1, "part_scale": 0.12,
    "size": 0.08, "roughness": 0.15, "gloss": 0.15, "position": 0.06,
}  # fmt: skip
COLORED = 0.18  # chroma from which a hue is visible


def hue_shows(saturation: float, lightness: float) -> bool:
    """Whether the hue of a colour is visible."""
    return chroma(saturation, lightness) >= COLORED


def hue_shift(before: float, after: float) -> float:
    """The signed shortest way round the colour circle, in [-0.5, 0.5)."""
    return (after - before + 0.5) % 1.0 - 0.5
