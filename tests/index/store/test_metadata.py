"""Metadata rows are read by position from any part, with an adopted table's columns under our names and types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, StoreInvalid
from index.store import metadata
from index.store.metadata import METADATA_SCHEMA, ROW_GROUP_ROWS, MetadataFiles, parquet_bytes
from index.store.store_manifest import FileRecord, Manifest, Part, part_paths

COUNTS = (2 * ROW_GROUP_ROWS + 5, 3, 4)


def rows_of(first: int, count: int) -> pa.Table:
    columns = {name: pa.nulls(count, METADATA_SCHEMA.field(name).type) for name in METADATA_SCHEMA.names}
    keys = [f"k{row}" for row in range(first, first + count)]
    return pa.table({**columns, "key": pa.array(keys), "width": pa.array(range(count), pa.int32())})


def manifest_of(counts: tuple[int, ...]) -> Manifest:
    parts, first_row = [], 0
    for number, rows in enumerate(counts):
        files = {kind: FileRecord(path, 0, None) for kind, path in part_paths(number).items()}
        parts.append(Part(f"{number:04d}", first_row, rows, rows, files))
        first_row += rows
    return Manifest("embedded", 4, "float16", True, {"name": "x"}, None, tuple(parts))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "metadata").mkdir()
    first = 0
    for number, count in enumerate(COUNTS):
        (tmp_path / part_paths(number)["metadata"]).write_bytes(parquet_bytes(rows_of(first, count)))
        first += count
    return tmp_path


def positions(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def test_rows_come_in_the_order_asked_for_across_row_groups(store: Path) -> None:
    files = MetadataFiles(store, manifest_of(COUNTS))
    wanted = positions(2 * ROW_GROUP_ROWS, 0, ROW_GROUP_ROWS - 1, 0, ROW_GROUP_ROWS)
    table = files.read(0, wanted, ["width", "key"])
    assert table.column_names == ["width", "key"]
    assert table["key"].to_pylist() == [f"k{position}" for position in wanted]
    assert files.read(2, positions(3), ["key"])["key"].to_pylist() == [f"k{sum(COUNTS) - 1}"]


def test_equal_tables_have_equal_bytes(store: Path) -> None:
    assert parquet_bytes(rows_of(0, 5)) == parquet_bytes(rows_of(0, 5)) != parquet_bytes(rows_of(1, 5))


def test_batches_give_a_part_in_order(store: Path) -> None:
    tables = list(MetadataFiles(store, manifest_of(COUNTS)).batches(0, ["key"], 900))
    assert all(table.num_rows <= 900 for table in tables)
    assert pa.concat_tables(tables)["key"].to_pylist() == [f"k{row}" for row in range(COUNTS[0])]
    with pytest.raises(BadInput, match="at least one metadata column"):
        list(MetadataFiles(store, manifest_of(COUNTS)).batches(0, [], 900))


def test_files_stay_readable_when_more_are_used_than_may_be_open(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "OPEN_FILES", 1)
    files = MetadataFiles(store, manifest_of(COUNTS))
    for _ in range(2):
        for part in range(3):
            first = sum(COUNTS[:part])
            assert files.read(part, positions(0), ["key"])["key"].to_pylist() == [f"k{first}"]


def test_an_adopted_tables_columns_have_our_names_and_types(store: Path) -> None:
    table = pa.table(
        {"image_path": ["a", "b"], "WIDTH": [640.0, 12.5], "height": ["48", "tall"], "NSFW": ["no", "yes"]}
    )
    pq.write_table(table, store / part_paths(0)["metadata"])
    manifest = replace(manifest_of((2,)), columns={"key": "image_path", "width": "WIDTH"})
    files = MetadataFiles(store, manifest)
    assert files.column_names(0) == [*METADATA_SCHEMA.names, "NSFW"]
    found = files.read(0, positions(1, 0), ["key", "width", "height", "url", "NSFW"])
    assert found.to_pydict() == {
        "key": ["b", "a"],
        "width": [12, 640],
        "height": [None, 48],
        "url": [None, None],
        "NSFW": ["yes", "no"],
    }
    with pytest.raises(BadInput, match="no metadata column 'colour'"):
        files.read(0, positions(0), ["colour"])


@pytest.mark.parametrize(("damage", "why"), [(None, "is missing"), (b"junk", "cannot be read as Parquet")])
def test_a_missing_or_damaged_file_is_named(store: Path, damage: bytes | None, why: str) -> None:
    path = store / part_paths(1)["metadata"]
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    files = MetadataFiles(store, manifest_of(COUNTS))
    files.check(0)
    with pytest.raises(StoreInvalid, match=rf"metadata_0001\.parquet: {why}"):
        files.check(1)


def test_a_file_with_another_number_of_rows_is_refused(store: Path) -> None:
    with pytest.raises(StoreInvalid, match=r"metadata_0001\.parquet: has 3 rows, the part 7"):
        MetadataFiles(store, manifest_of((COUNTS[0], 7, 4))).check(1)
