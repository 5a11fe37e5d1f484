"""Members are one image by name or by the hash of their file; names as columns are those of `Member.ref`."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa

from mining.sets.image_set import Member
from mining.sets.layouts import MEMBERS_SCHEMA
from mining.sets.same_image import MEMBER_NAME, image_numbers, own_names

SCHEMA = pa.schema([MEMBERS_SCHEMA.field(name) for name in MEMBER_NAME])


def table(*members: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"source": "s", **each} for each in members], SCHEMA)


def numbers(*members: dict[str, Any]) -> list[int]:
    found: list[int] = image_numbers(table(*members)).tolist()
    return found


def test_names_of_columns_are_those_of_single_members() -> None:
    """Of every combination of known and unknown fields."""
    known: dict[str, Any] = {
        "row_id": 7,
        "key": "k",
        "shard": "a.tar",
        "offset": 512,
        "path": "p.jpg",
        "url": "u",
        "sha256": "ff",
    }
    members = [
        dict(zip(known, values, strict=True))
        for values in itertools.product(*[(None, value) for value in known.values()])
    ]
    assert len(members) == 128
    names = own_names(table(*members)).to_pylist()
    assert [f"s/{name}" for name in names] == [Member(0, "s", **each).ref for each in members]


def test_a_number_is_the_place_of_the_images_first_appearance() -> None:
    a, b = {"path": "a.jpg"}, {"path": "b.jpg"}
    assert numbers(b, a, b, a, {"path": "a.jpg", "source": "t"}) == [0, 1, 0, 1, 4]
    assert numbers() == []


def test_equal_files_are_one_image_whatever_they_are_called() -> None:
    one, other = {"row_id": 1, "sha256": "ff"}, {"path": "a.jpg", "source": "t", "sha256": "ff"}
    assert numbers({"row_id": 0, "sha256": "00"}, one, other) == [0, 1, 1]
    assert numbers({"path": "a"}, {"path": "b"}, {"path": "a", "sha256": None}) == [0, 1, 0]


def test_names_and_hashes_join_in_chains() -> None:
    """b is a by its hash, and the second b, whose hash is not known, is b by its name."""
    a, b = {"path": "a", "sha256": "ff"}, {"path": "b", "sha256": "ff"}
    assert numbers({"path": "c"}, b, a, {"path": "b"}, {"path": "a"}) == [0, 1, 1, 1, 1]


def test_files_of_one_name_in_different_tars_are_different_images() -> None:
    one, other = {"shard": "a.tar", "key": "1.jpg"}, {"shard": "b.tar", "key": "1.jpg"}
    assert numbers(one, other, one) == [0, 1, 0]
