"""The catalog of the world: object types in a small tree, and places. Reads and checks catalog/*.json.

The "draw" data of a type is expanded once, when the catalog is read (`grammar.expand`), so that a mistake in a catalog
file gives one clear error.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scenes.shapes.colors import explicit_color
from scenes.shapes.expressions import GrammarError
from scenes.shapes.grammar import Drawing, Part, expand
from scenes.shapes.posing import bounds

FOLDER = Path(__file__).parent / "catalog"
SUPPORTS = ("ground", "floor", "table", "air", "water")
LIGHTS = ("day", "dusk", "night", "overcast")
VIEWS = {"eye-level": 0.0, "low": 0.10, "high": -0.15}  # how far the horizon moves down the image
REQUIRED = ("name", "plural", "path", "size", "support", "draw")
TYPE_KEYS = (*REQUIRED, "synonyms", "color", "places", "poses", "part", "shape_words", "made_up")
PLACE_REQUIRED = ("name", "phrase", "horizon", "surfaces", "sky", "ground")
PLACE_KEYS = (*PLACE_REQUIRED, "indoor", "open_sky", "sun", "grain", "backdrop", "stamps")
STAMP_KEYS = ("parts", "count", "x", "y", "height", "flip")


class CatalogError(ValueError):
    """A catalog file is wrong; the message names the file and the entry."""


Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ObjectType:
    """A type of object: its names, where it may be, and its drawing."""

    name: str
    plural: str
    path: tuple[str, ...]  # categories from the root: ("animal", "mammal")
    synonyms: tuple[str, ...]
    size: float  # height of an object of size 1, as a fraction of the image's
    hue: Range
    saturation: Range
    lightness: Range
    support: str
    places: tuple[str, ...]  # (): every place that has its support
    poses: tuple[str, ...]  # the first is the neutral one
    part: str  # name of the part that part_scale scales; "": none
    shape_words: bool  # whether texts describe its shape
    made_up: bool  # whether its name is invented
    aspect: float  # width over height, neutral pose and attributes
    drawing: Drawing


@dataclasses.dataclass(frozen=True)
class Stamp:
    """A small drawing that is scattered over a place."""

    parts: tuple[Part, ...]  # (0, 0) is its foot; about 100 units high
    count: Range
    x: Range  # hundredths of the image's width
    y: Range  # above the horizon in hundredths of the image's height, below it in hundredths of the ground's
    height: float  # of 100 units, as a fraction of the image's height
    flip: bool  # whether it may be mirrored


@dataclasses.dataclass(frozen=True)
class Place:
    """A kind of surroundings; `backgrounds.py` describes its drawing data."""

    name: str
    phrase: str  # "in a meadow"
    indoor: bool
    horizon: float  # at eye-level, as a fraction of the image's height from the top
    surfaces: Mapping[str, Range]  # support: band of y in which objects stand, at eye level
    sky: tuple[str, str]  # colours at the top and at the horizon; indoors those of the wall
    ground: tuple[str, str]  # colours at the horizon and at the bottom
    open_sky: bool  # whether clouds, stars and the light's own sky are drawn
    sun: bool
    grain: int  # strength of the ground's texture, 0..255
    backdrop: tuple[Part, ...]
    stamps: tuple[Stamp, ...]


@dataclasses.dataclass(frozen=True)
class Catalog:
    """All types and places by name."""

    types: Mapping[str, ObjectType]
    places: Mapping[str, Place]


def horizon(place: Place, view: str) -> float:
    """The horizon of a view, as a fraction of the image's height from the top."""
    return place.horizon + VIEWS[view]


def surface(place: Place, support: str, view: str) -> Range:
    """The band of y where objects with this support may stand; a view moves the horizon and scales the ground."""
    before, after = place.horizon, horizon(place, view)
    top, bottom = (
        y + after - before if y < before else after + (y - before) * (1 - after) / (1 - before)
        for y in place.surfaces[support]
    )
    return top, bottom


def _check_keys(entry: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...]) -> None:
    for key in entry:
        if key not in known:
            raise CatalogError(f"unknown key {key!r} (known: {', '.join(known)})")
    for key in required:
        if key not in entry:
            raise CatalogError(f"key {key!r} is missing")


def _range(color: Mapping[str, Any], key: str, default: Range) -> Range:
    low, high = color.get(key, default)
    if not (0 <= low <= high <= 2 and high - low <= 1):
        raise CatalogError(f"color {key}: [{low}, {high}] is not a range within 0..1 (hue may run past 1)")
    return float(low), float(high)


def _drawn_size(size: float, aspect: float) -> float:
    """The drawn height of a natural size.

    Small objects are drawn larger than they are, so that they are visible in 96 pixels. Wide objects are drawn less
    high, or a flute would be as long as a ship.
    """
    height: float = (0.13 + 0.84 * size) / max(1.0, aspect / 1.4) ** 0.7
    return round(height, 4)


def read_type(entry: Mapping[str, Any], plans: Mapping[str, Any]) -> ObjectType:
    """The type of a catalog entry, with the body plans by name. Raises CatalogError or GrammarError."""
    _check_keys(entry, TYPE_KEYS, REQUIRED)
    color = entry.get("color", {})
    _check_keys(color, ("hue", "saturation", "lightness"), ())
    if entry["support"] not in SUPPORTS:
        raise CatalogError(f"support {entry['support']!r} is none of {', '.join(SUPPORTS)}")
    drawing = expand(entry["draw"], plans)
    poses = tuple(entry.get("poses") or ("standing",))
    for pose in poses[1:]:
        if pose not in drawing.poses:
            known = ", ".join(drawing.poses) or "none"
            raise CatalogError(f"pose {pose!r} has no data in its drawing (it has: {known})")
    if entry.get("part") and not any(part.feature for part in drawing.parts):
        raise CatalogError(f"part {entry['part']!r} is named, but no line of the drawing has f")
    x0, y0, x1, y1 = bounds(drawing, poses[0])
    return ObjectType(
        name=entry["name"],
        plural=entry["plural"],
        path=tuple(entry["path"]),
        synonyms=tuple(entry.get("synonyms", ())),
        size=_drawn_size(float(entry["size"]), (x1 - x0) / (y1 - y0)),
        hue=_range(color, "hue", (0.0, 1.0)),
        saturation=_range(color, "saturation", (0.0, 1.0)),
        lightness=_range(color, "lightness", (0.2, 0.8)),
        support=entry["support"],
        places=tuple(entry.get("places", ())),
        poses=poses,
        part=entry.get("part", ""),
        shape_words=bool(entry.get("shape_words", False)),
        made_up=bool(entry.get("made_up", False)),
        aspect=round((x1 - x0) / (y1 - y0), 4),
        drawing=drawing,
    )


def _place_parts(lines: Iterable[str]) -> tuple[Part, ...]:
    try:
        return expand({"parts": list(lines), "colors": {"outside": "white"}}, {}).parts
    except GrammarError as error:
        raise CatalogError(str(error)) from None


def _pair(values: Any) -> Range:
    low, high = values
    return float(low), float(high)


def _read_stamp(entry: Mapping[str, Any]) -> Stamp:
    _check_keys(entry, STAMP_KEYS, ("parts", "count", "y", "height"))
    return Stamp(
        parts=_place_parts(entry["parts"]),
        count=_pair(entry["count"]),
        x=_pair(entry.get("x", (0, 100))),
        y=_pair(entry["y"]),
        height=float(entry["height"]),
        flip=bool(entry.get("flip", True)),
    )


def read_place(entry: Mapping[str, Any]) -> Place:
    """The place of an entry of places.json. Raises CatalogError."""
    _check_keys(entry, PLACE_KEYS, PLACE_REQUIRED)
    for support in entry["surfaces"]:
        if support not in SUPPORTS:
            raise CatalogError(f"surface {support!r} is none of {', '.join(SUPPORTS)}")
    for color in (*entry["sky"], *entry["ground"]):
        if explicit_color(color) is None:
            raise CatalogError(f"unknown colour {color!r}")
    indoor = bool(entry.get("indoor", False))
    return Place(
        name=entry["name"],
        phrase=entry["phrase"],
        indoor=indoor,
        horizon=float(entry["horizon"]),
        surfaces={support: _pair(band) for support, band in entry["surfaces"].items()},
        sky=(entry["sky"][0], entry["sky"][1]),
        ground=(entry["ground"][0], entry["ground"][1]),
        open_sky=bool(entry.get("open_sky", not indoor)),
        sun=bool(entry.get("sun", False)),
        grain=int(entry.get("grain", 0)),
        backdrop=_place_parts(entry["backdrop"]) if entry.get("backdrop") else (),
        stamps=tuple(_read_stamp(stamp) for stamp in entry.get("stamps", ())),
    )


def read_catalog(paths: Iterable[Path]) -> Catalog:
    """The types and places of JSON files; places are in the file places.json.

    Raises CatalogError naming the file and the entry at fault.
    """
    files: dict[str, Any] = {}
    for path in sorted(paths):
        try:
            files[path.name] = json.loads(path.read_text())
        except ValueError as error:
            raise CatalogError(f"{path.name}: not JSON: {error}") from None
    plans: dict[str, Any] = {}
    entries: list[tuple[str, Any]] = []
    for name, data in files.items():
        if name == "places.json":
            continue
        if isinstance(data, dict):
            plans.update(data.get("plans", {}))
            data = data.get("types", [])
        entries.extend((name, entry) for entry in data)
    types: dict[str, ObjectType] = {}
    for name, entry in entries:
        where = f"{name}: {entry.get('name', 'an entry without a name')}"
        try:
            kind = read_type(entry, plans)
        except (CatalogError, GrammarError, TypeError, ValueError) as error:
            raise CatalogError(f"{where}: {error}") from None
        if kind.name in types:
            raise CatalogError(f"{where}: the name is taken")
        types[kind.name] = kind
    places: dict[str, Place] = {}
    for entry in files.get("places.json", []):
        try:
            place = read_place(entry)
        except (CatalogError, TypeError, ValueError) as error:
            raise CatalogError(f"places.json: {entry.get('name')}: {error}") from None
        places[place.name] = place
    for kind in types.values():
        for named in kind.places:
            if places and named not in places:
                raise CatalogError(f"{kind.name}: unknown place {named!r} (known: {', '.join(places)})")
    return Catalog(types, places)


@functools.cache
def load_catalog() -> Catalog:
    """The catalog of the package, read once per process."""
    return read_catalog(FOLDER.glob("*.json"))
