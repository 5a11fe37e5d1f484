"""One type for each column of an adopted store, whatever its parts have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from index.errors import StoreInvalid
from index.store.adopted_columns import ColumnUnion

TEXTS = pa.dictionary(pa.int32(), pa.string())


def union_of(*types: Any) -> ColumnUnion:
    union = ColumnUnion()
    for number, of in enumerate(types):
        fields = [pa.field("caption", pa.string())] + ([] if of is None else [pa.field("x", of)])
        union.add(Path(f"metadata_{number}.parquet"), pa.schema(fields))
    return union


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ([pa.string()], "string"),
        ([None, pa.int16(), None], "int16"),
        ([pa.null(), pa.string()], "string"),
        ([pa.null(), None], "string"),
        ([pa.large_string(), pa.string_view(), TEXTS], "string"),
        ([pa.int32(), pa.int64()], "int64"),
        ([pa.int64(), pa.float32(), pa.float64()], "double"),
        ([pa.float32(), pa.string()], "string"),
        ([pa.bool_(), pa.int8()], "string"),
        ([pa.timestamp("us"), pa.string()], "string"),
        ([pa.list_(pa.int32()), pa.null(), pa.list_(pa.int64())], "list<item: int64>"),
    ],
)
def test_types_that_fit_together_have_a_common_one(types: list[Any], common: str) -> None:
    assert union_of(*types).other_columns == {"x": common}


def test_nested_columns_that_do_not_fit_are_refused_with_both_files() -> None:
    union = union_of(pa.list_(pa.string()), pa.string())
    with pytest.raises(
        StoreInvalid, match=r"metadata_1\.parquet: its column 'x' is string, .*metadata_0\.parquet list"
    ):
        _ = union.other_columns


def test_our_columns_are_known_by_their_names_elsewhere() -> None:
    union = ColumnUnion()
    union.add(Path("a"), pa.schema([("image_path", pa.string()), ("TEXT", pa.string()), ("sha256", pa.string())]))
    union.add(Path("b"), pa.schema([("WIDTH", pa.int64()), ("hash", pa.uint64())]))
    assert union.columns == {"key": "image_path", "caption": "TEXT", "width": "WIDTH"}
    assert union.other_columns == {"hash": "uint64"}


def test_a_column_that_stands_twice_is_refused() -> None:
    with pytest.raises(StoreInvalid, match="a: has the column 'url' 2 times"):
        ColumnUnion().add(Path("a"), pa.schema([("url", pa.string()), ("url", pa.string())]))
