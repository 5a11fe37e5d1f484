"""The truth of a scene: plain, versioned data that drawing, captions, edits and comparisons read.

A `Scene` describes the full content of an image, but not how it is drawn or put into words. As JSON (`to_json`) it is
part of the `json` member of every exported tar, and so of a store's metadata.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

VERSION = 1

# The continuous attributes of an object, each in [0, 1]; `words.py` has the thresholds of their words.
ATTRIBUTES = ("hue", "saturation", "lightness", "roundness", "elongation", "part_scale", "roughness", "gloss")

Facing = Literal["left", "right"]


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One object. Coordinates are fractions of the image; x points right and y points down."""

    type: str  # a name of the catalog: "dog"
    x: float  # ground contact point (bottom centre of the object)
    y: float
    size: float  # factor of the type's height, perspective included
    depth: float = 0.0  # 0 nearest, 1 farthest; nearer objects are drawn over farther ones
    facing: Facing = "left"
    pose: str = "standing"  # one of the type's poses; also the action ("running")
    target: int | None = None  # index of the object that the action is directed at
    entity: str | None = None  # name of the individual ("Biscuit"); None: it has no name
    hue: float = 0.0  # position on the colour circle: 0 red, 1/3 green, 2/3 blue
    saturation: float = 0.7
    lightness: float = 0.5
    roundness: float = 0.5  # 0 angular, 1 round; 0.5 as the catalog draws the type
    elongation: float = 0.5  # 0 squat, 1 stretched
    part_scale: float = 0.5  # size of the type's feature part (a dog's ears, a car's wheels)
    roughness: float = 0.0  # surface texture
    gloss: float = 0.0  # highlight
    seed: int = 0  # of the surface noise


@dataclasses.dataclass(frozen=True)
class Background:
    """A variation of the place behind the objects."""

    seed: int = 0  # of the decor
    tint: float = 0.0  # in [-1, 1]: a shift of the background's colours


@dataclasses.dataclass(frozen=True)
class Scene:
    """The full truth of an image. `objects` are in any order; drawing sorts them by depth."""

    id: str  # "<split>/<number>"
    place: str  # a name of the catalog's places: "meadow"
    objects: tuple[SceneObject, ...]
    light: str = "day"  # day, dusk, night, overcast
    view: str = "eye-level"  # eye-level, low, high
    background: Background = Background()
    story: str | None = None  # id of the story that this scene belongs to
    step: int | None = None  # number of the scene in the story
    version: int = VERSION


def to_json(scene: Scene) -> str:
    """Canonical JSON (sorted keys, no spaces); equal scenes give equal text."""
    return json.dumps(dataclasses.asdict(scene), sort_keys=True, separators=(",", ":"))


def from_json(text: str | dict[str, Any]) -> Scene:
    """The scene of a `to_json` text or of its parsed object. Raises ValueError for an unknown version."""
    data = dict(json.loads(text) if isinstance(text, str) else text)
    if data.get("version") != VERSION:
        raise ValueError(f"scene of version {data.get('version')!r}; this code reads version {VERSION}")
    data["objects"] = tuple(SceneObject(**thing) for thing in data["objects"])
    data["background"] = Background(**data["background"])
    return Scene(**data)
