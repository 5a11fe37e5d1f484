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
from index.store.metadata import METADATA_SCHEMA, ROW_GROUP_ROWS, MetadataFiles, join_parts, parquet_bytes
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


def test_sizes_written_as_texts_with_a_fraction_are_numbers(store: Path) -> None:
    table = pa.table({"width": ["640.0", "12.5"], "height": ["1e3", "inf"]})
    pq.write_table(table, store / part_paths(0)["metadata"])
    found = MetadataFiles(store, manifest_of((2,))).read(0, positions(0, 1), ["width", "height"])
    assert found.to_pydict() == {"width": [640, 12], "height": [1000, None]}


def test_odd_values_of_an_adopted_table_cost_one_value_not_the_look_up(store: Path) -> None:
    latin1 = pa.StringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 1, 5, 6], np.int32).tobytes()), pa.py_buffer(b"acaf\xe9d")
    )
    table = pa.table(
        {
            "caption": latin1,
            "key": pa.array([["a", "b"], [None, "c"], []]),
            "url": pa.array([b"http://a", b"caf\xe9", None]),
            "width": pa.array([2.0**40, float("nan"), 3.0]),
            "text_tokens_cut": pa.array(["yes", "no", None]),
        }
    )
    pq.write_table(table, store / part_paths(0)["metadata"])
    files = MetadataFiles(store, replace(manifest_of((3,)), kind="adopted"))
    assert files.read(0, positions(0, 1, 2), ["caption", "key", "url", "width", "text_tokens_cut"]).to_pydict() == {
        "caption": ["a", "caf\ufffd", "d"],
        "key": ["a", "c", None],
        "url": ["http://a", "caf\ufffd", None],
        "width": [None, None, 3],
        "text_tokens_cut": [None, None, None],
    }


def test_another_name_of_our_column_is_read_where_a_part_lacks_the_first(store: Path) -> None:
    for number, name in ((0, "TEXT"), (1, "caption"), (2, "none of them")):
        pq.write_table(pa.table({name: [f"from {name}"]}), store / part_paths(number)["metadata"])
    files = MetadataFiles(store, replace(manifest_of((1, 1, 1)), kind="adopted", columns={"caption": "TEXT"}))
    found = [files.read(part, positions(0), ["caption"])["caption"].to_pylist() for part in range(3)]
    assert found == [["from TEXT"], ["from caption"], [None]]


def test_a_column_of_some_parts_is_null_in_the_others_and_has_the_stores_type(store: Path) -> None:
    for number, column in enumerate([{"score": [1]}, {"score": ["high"]}, {"width": [5]}]):
        pq.write_table(pa.table(column), store / part_paths(number)["metadata"])
    manifest = replace(manifest_of((1, 1, 1)), kind="adopted", other_columns={"score": "string"})
    files = MetadataFiles(store, manifest)
    tables = [files.read(part, positions(0), ["score"]) for part in range(3)]
    assert [table["score"].to_pylist() for table in tables] == [["1"], ["high"], [None]]
    assert join_parts(tables, ["0", "1", "2"], store).schema.field("score").type == pa.string()
    assert all(files.column_names(part)[-1] == "score" for part in range(3))


def test_parts_that_cannot_be_joined_are_named_with_the_column(store: Path) -> None:
    tables = [pa.table({"a": [1], "b": [{"x": 1}]}), pa.table({"a": [None], "b": ["text"]})]
    with pytest.raises(StoreInvalid, match=r"column 'b' is struct.* in part 7 and string in part 9; .*clipmine adopt"):
        join_parts(tables, ["7", "9"], store)


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
