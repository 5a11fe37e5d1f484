"""Frames as input: one of URLs is written once, one of rows gives row ids, and what cannot serve is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from index.corpus.table_rows import Columns
from index.errors import BadInput, ClipmineError, OutputExists
from index.parquet import read_parquet
from index.store.embedding_store import EmbeddingStore
from jobs.frames_in import chosen_rows, write_table

COLUMNS = Columns("URL", "TEXT", ("similarity",))
LAION: dict[str, Any] = {
    "URL": [f"http://example.org/{number}.jpg" for number in range(12)],
    "TEXT": [None, *(f"picture {number}" for number in range(1, 12))],
    "similarity": [number / 10 for number in range(12)],
    "NSFW": ["UNLIKELY"] * 12,
}


def written(table: str) -> list[tuple[Any, ...]]:
    """The rows of a written table by URL."""
    tables = [read_parquet(file) for file in sorted(Path(table).glob("*.parquet"))]
    return sorted(tuple(row.values()) for row in pa.concat_tables(tables).to_pylist())


def test_spark_writes_the_wanted_columns_once(spark_session: Any, tmp_path: Path) -> None:
    frame = spark_session.createDataFrame(pa.table(LAION)).repartition(3).filter("similarity >= 0.2")
    folder = tmp_path / "the table"
    table = write_table(frame, str(folder), COLUMNS)
    expected = list(zip(*(LAION[name][2:] for name in ("URL", "TEXT", "similarity")), strict=True))
    assert written(table) == sorted(expected)
    assert json.loads((folder / "manifest.json").read_text())["rows"] == 10
    before = {file.name for file in Path(table).iterdir()}
    assert write_table(frame.repartition(1), str(folder), COLUMNS) == table  # the same rows in another order
    assert {file.name for file in Path(table).iterdir()} == before
    for other, message in (
        (frame.limit(9), "10 rows, not 9"),
        (frame.selectExpr("URL", "upper(TEXT) as TEXT", "similarity"), "other values"),
    ):
        with pytest.raises(OutputExists, match=f"was written from another frame .{message}.; choose another `out`"):
            write_table(other, str(folder), COLUMNS)
    with pytest.raises(OutputExists, match="was begun with columns similarity double, not string; choose another"):
        write_table(frame.withColumn("similarity", frame.NSFW), str(folder), COLUMNS)
    assert {file.name for file in Path(table).iterdir()} == before
    # A run that was killed while Spark wrote is begun again.
    (folder / "manifest.json").unlink()
    (Path(table) / "part-00099.parquet").write_bytes(b"half a file")
    write_table(frame, str(folder), COLUMNS)
    assert written(table) == sorted(expected)


def test_a_frame_of_spark_that_cannot_serve_is_one_line(spark_session: Any, tmp_path: Path) -> None:
    frame = spark_session.createDataFrame(pa.table(LAION))
    doubled = frame.join(frame.withColumnRenamed("URL", "link"), "TEXT").withColumnRenamed("link", "URL")
    lists = frame.selectExpr("array(URL) as URL", "TEXT", "similarity")
    fails = frame.selectExpr("URL", "TEXT", "raise_error('no such thing') as similarity")
    stream = spark_session.readStream.format("rate").load()
    for wrong, kind, message in (
        (frame.drop("URL"), BadInput, "the frame: has no column 'URL'; its columns are TEXT, similarity, NSFW"),
        (doubled, BadInput, "the frame: has 2 columns named 'URL'"),
        (lists, BadInput, "the frame: the column 'URL' is of type list<.*>; URLs have to be text"),
        (frame.filter("similarity > 9"), BadInput, "the frame has no rows"),
        (stream, BadInput, "the frame is a stream"),
        (fails, ClipmineError, "the frame: Spark stopped: .*no such thing"),
    ):
        with pytest.raises(kind, match=message) as caught:
            write_table(wrong, str(tmp_path / "t"), COLUMNS)
        assert "\n" not in str(caught.value)
    write_table(frame, str(tmp_path / "t"), COLUMNS)  # none of them keeps the folder


class Streams:
    """A frame of another library: what Polars and DuckDB offer."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.table, lambda data: Streams(pa.table(data))])
def test_a_frame_in_memory_is_written_once(kind: Any, tmp_path: Path) -> None:
    table = write_table(kind(LAION), str(tmp_path), COLUMNS)
    assert written(table) == sorted(zip(*(LAION[name] for name in ("URL", "TEXT", "similarity")), strict=True))
    assert write_table(kind(LAION), str(tmp_path), COLUMNS) == table
    with pytest.raises(OutputExists, match="other values"):
        write_table(kind({**LAION, "TEXT": ["a"] * 12}), str(tmp_path), COLUMNS)
    with pytest.raises(BadInput, match="the frame has no rows"):
        write_table(pa.table(LAION).slice(0, 0), str(tmp_path / "other"), COLUMNS)


@pytest.mark.filterwarnings("ignore:.use_.*is deprecated:DeprecationWarning")  # of Ray, which reads its own fields
def test_ray_writes_the_wanted_columns_once(ray_up: None, tmp_path: Path) -> None:
    import ray.data

    frame = ray.data.from_arrow([pa.table(LAION).slice(0, 5), pa.table(LAION).slice(5)])
    table = write_table(frame, str(tmp_path), COLUMNS)
    assert written(table) == sorted(zip(*(LAION[name] for name in ("URL", "TEXT", "similarity")), strict=True))
    assert write_table(frame, str(tmp_path), COLUMNS) == table
    with pytest.raises(OutputExists, match="12 rows, not 11"):
        write_table(frame.limit(11), str(tmp_path), COLUMNS)


def test_files_that_this_machine_does_not_see_are_missed(
    spark_session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = f"file://{tmp_path / 'elsewhere'}"  # as on the disk of another machine
    monkeypatch.setattr("jobs.frame_kinds.spark_path", lambda path: elsewhere)
    frame = spark_session.createDataFrame(pa.table(LAION))
    with pytest.raises(BadInput, match=r"has 0 of the 12 rows that were written; .* do not see the same folder"):
        write_table(frame, str(tmp_path / "t"), COLUMNS)


def test_rows_are_named_by_id_or_by_key(small_store: EmbeddingStore, spark_session: Any) -> None:
    keys = small_store.metadata([3, 30], ["key"])["key"].to_pylist()
    assert chosen_rows(pd.DataFrame({"row_id": [30, 3]}), small_store).tolist() == [3, 30]
    assert chosen_rows(pd.DataFrame({"key": keys, "caption": ["a", "b"]}), small_store).tolist() == [3, 30]
    frame = spark_session.createDataFrame(pa.table({"row_id": [30, 3], "key": ["a", "b"]}))
    assert chosen_rows(frame, small_store).tolist() == [3, 30]
    assert chosen_rows(frame, small_store).dtype == np.int64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": [1]}, "the frame has no column 'row_id' or 'key'; its columns are id"),
        ({"row_id": pa.array([], pa.int64())}, "the frame has no rows"),
        ({"row_id": [1, None, None]}, "the frame's column 'row_id' has 2 nulls"),
        ({"key": ["000000000", None]}, "the frame's column 'key' has 1 nulls"),
        ({"row_id": [1, 2, 1, 2, 1]}, "the frame's column 'row_id' repeats 3 values .the first is 1.; drop"),
        ({"key": ["a", "a"]}, "the frame's column 'key' repeats 1 values .the first is 'a'."),
        ({"row_id": ["1"]}, "the frame's column 'row_id' is of type string; row ids are whole numbers"),
        ({"key": [["a"]]}, "the frame's column 'key' is of type list<.*>, which does not serve"),
        ({"row_id": [1, 33]}, "has no row 33, which the frame names; its rows are 0 to 32"),
        ({"row_id": [-1]}, "has no row -1"),
        (
            {"key": ["000000000", "b", "c"]},
            "has no row for 2 of the frame's 3 keys .the first is 'b'.; filter them out",
        ),
    ],
)
def test_rows_that_cannot_be_chosen_are_one_line(data: Any, message: str, small_store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        chosen_rows(pa.table(data), small_store)
    assert "\n" not in str(caught.value)
