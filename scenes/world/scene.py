"""The truth of a scene: plain, versioned data that drawing, captions, edits and comparisons all read.

A `Scene` says everything about a picture and nothing about how it is drawn or worded. It is JSON (see `to_json`),
travels in the `json` member of every exported tar, and from there into a store's metadata.
Knows nothing about pixels, words or sampling.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

VERSION = 1

# The continuous attributes of an object, each in [0, 1]. Words for them are thresholds (`words.py`).
ATTRIBUTES = ("hue", "saturation", "lightness", "roundness", "elongation", "part_scale", "roughness", "gloss")

Facing = Literal["left", "right"]


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One object. Coordinates are fractions of the image: x grows right, y grows down."""

    type: str  # a name of the catalog: "dog"
    x: float  # ground contact point (bottom centre of the object)
    y: float
    size: float  # height in fractions of the image height for a type of unit size, perspective already applied
    depth: float = 0.0  # 0 is nearest the viewer, 1 farthest; nearer objects are drawn over farther ones
    facing: Facing = "left"
    pose: str = "standing"  # one of the type's poses; doubles as the action ("running")
    target: int | None = None  # index of the object that the action is directed at
    entity: str | None = None  # name of a persistent individual ("Biscuit"), or None for an anonymous one
    hue: float = 0.0  # position on the colour circle: 0 red, 1/3 green, 2/3 blue
    saturation: float = 0.7
    lightness: float = 0.5
    roundness: float = 0.5  # 0 angular, 1 round; 0.5 draws the type as its catalog entry has it
    elongation: float = 0.5  # 0 squat, 1 stretched
    part_scale: float = 0.5  # size of the type's feature part (a dog's ears, a car's wheels)
    roughness: float = 0.0  # surface texture
    gloss: float = 0.0  # highlight
    seed: int = 0  # of the surface noise


@dataclasses.dataclass(frozen=True)
class Background:
    """What is behind the objects: varies the decor of a place without changing what it is."""

    seed: int = 0
    tint: float = 0.0  # in [-1, 1]: a shift of the background's colours


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture's whole truth. `objects` are in any order; drawing sorts them by depth."""

    id: str  # "<split>/<number>"
    place: str  # a name of the catalog's places: "meadow"
    objects: tuple[SceneObject, ...]
    light: str = "day"  # day, dusk, night, overcast
    view: str = "eye-level"  # eye-level, low, high
    background: Background = Background()
    story: str | None = None  # id of the story this scene belongs to, and its place in it
    step: int | None = None
    version: int = VERSION


def to_json(scene: Scene) -> str:
    """Canonical JSON (sorted keys, no spaces): equal scenes give equal bytes."""
    return json.dumps(dataclasses.asdict(scene), sort_keys=True, separators=(",", ":"))


def from_json(text: str | dict[str, Any]) -> Scene:
    """Inverse of `to_json`. Raises ValueError for a version this code does not know."""
    data = dict(json.loads(text) if isinstance(text, str) else text)
    if data.get("version") != VERSION:
        raise ValueError(f"scene of version {data.get('version')!r}; this code reads version {VERSION}")
    data["objects"] = tuple(SceneObject(**thing) for thing in data["objects"])
    data["background"] = Background(**data["background"])
    return Scene(**data)


def content_hash(scene: Scene) -> str:
    """SHA-256 of all that can be seen (the id left out): equal pictures share it."""
    return hashlib.sha256(to_json(dataclasses.replace(scene, id="")).encode()).hexdigest()
