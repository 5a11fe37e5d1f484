"""The catalog's files and their checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenes.world.catalog import CatalogError, horizon, load_catalog, read_catalog, surface


def _type(**changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": "post",
        "plural": "posts",
        "path": ["thing"],
        "size": 0.3,
        "support": "ground",
        "draw": {"parts": ["box main 0 0 20 40"]},
    }
    return {**entry, **changes}


def _read(tmp_path: Path, data: Any) -> Any:
    (tmp_path / "things.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return read_catalog(tmp_path.glob("*.json"))


def test_the_world_has_over_two_hundred_types_each_with_its_own_drawing() -> None:
    types = load_catalog().types
    assert len(types) >= 200
    drawings = {repr((kind.drawing.parts, kind.drawing.colors)) for kind in types.values()}
    assert len(drawings) == len(types)


def test_the_world_has_places_with_surfaces_for_every_type() -> None:
    catalog = load_catalog()
    offered = {support for place in catalog.places.values() for support in place.surfaces}
    assert {kind.support for kind in catalog.types.values()} <= offered | {"floor"}
    assert len(catalog.places) >= 14


def test_names_are_unambiguous() -> None:
    catalog = load_catalog()
    categories = {category for kind in catalog.types.values() for category in kind.path}
    for name in set(catalog.types) & categories:
        # A plain tree is a tree, and so is a palm: the word may name both, if the type lies in the category.
        assert name in catalog.types[name].path
    plurals = [kind.plural for kind in catalog.types.values()]
    assert len(set(plurals)) == len(plurals)


def test_a_view_moves_the_horizon_and_the_surfaces_with_it() -> None:
    place = load_catalog().places["meadow"]
    assert horizon(place, "high") < horizon(place, "eye-level") < horizon(place, "low")
    for view in ("eye-level", "low", "high"):
        top, bottom = surface(place, "ground", view)
        assert horizon(place, view) < top < bottom < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": {}}, "unknown key 'colour'"),
        ({"support": "moon"}, "support 'moon' is none of"),
        ({"color": {"hue": [0.9, 0.2]}}, "is not a range"),
        ({"poses": ["standing", "flying"]}, "pose 'flying' has no data"),
        ({"part": "nose"}, "no line of the drawing has f"),
        ({"draw": {"parts": ["cube main 0 0 1 1"]}}, "unknown shape 'cube'"),
        ({"draw": {"parts": ["box mauve 0 0 1 1"]}}, "unknown colour 'mauve'"),
        ({"draw": {"parts": ["oval main 0 0 1"]}}, "takes cx cy rx ry, got 3 numbers in the line 'oval main 0 0 1'"),
        ({"draw": {"parts": ["oval main 0 0 1 1 g=leg"]}}, "unknown group 'leg'"),
        ({"draw": {"parts": ["oval main 0 0 1 1 spin=3"]}}, "unknown option 'spin'"),
        ({"draw": {"parts": ["oval main 0 0 x 1"]}}, "'x' in 'x' is not a number"),
        ({"draw": {"parts": ["oval main 0 0 1 1"], "poses": {"up": {"arm": 3}}}}, "moves an unknown group 'arm'"),
        ({"draw": {"plan": "rocket"}}, "unknown plan 'rocket'"),
        ({"draw": {"lines": []}}, "unknown key 'lines' in draw"),
    ],
)
def test_a_mistake_is_one_clear_line_naming_file_and_type(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        _read(tmp_path, [_type(**changes)])
    text = str(caught.value)
    assert text.startswith("things.json: post: ")
    assert message in text
    assert "\n" not in text


def test_a_missing_key_a_taken_name_and_broken_json_are_told(tmp_path: Path) -> None:
    entry = _type()
    del entry["size"]
    with pytest.raises(CatalogError, match=r"things\.json: post: key 'size' is missing"):
        _read(tmp_path, [entry])
    with pytest.raises(CatalogError, match="the name is taken"):
        _read(tmp_path, [_type(), _type()])
    with pytest.raises(CatalogError, match=r"things\.json: not JSON"):
        _read(tmp_path, "[")
