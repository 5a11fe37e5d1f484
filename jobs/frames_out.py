"""Stores, selections and image sets as data frames: `to_arrow` in this process, `to_spark` on the workers of Spark.

    clipmine.to_spark("store", spark).filter("width >= 256").write.parquet("large")
    clipmine.to_arrow("selection", columns=["row_id", "concept"]).to_pandas()

Rows that the store forgot are left out. The metadata of an embedded store is read by Spark itself from its Parquet
files; for the rest workers of Spark run our readers, part by part, and need the packages of clipmine.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput, StoreInvalid
from index.files import as_url, exists, join, read_bytes
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.metadata import METADATA_SCHEMA
from index.store.part_files import part_path
from jobs.executors.attempts import storage_settings
from jobs.frame_kinds import is_connect, spark_errors, spark_path, spark_schema
from jobs.places import absolute
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import Layout, read_layout
from mining.sets.nested_table import NESTED_SCHEMA, nested_table
from retrieval.selection import SELECTION_SCHEMA, Selection

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["to_arrow", "to_spark"]

Data = EmbeddingStore | Selection | ImageSets | str | os.PathLike[str]

# Rows of a batch: 4 MB of vectors of 512.
_BATCH_ROWS = 2_048


def to_arrow(
    data: Data, *, columns: Sequence[str] | None = None, vectors: Modality | Sequence[Modality] = ()
) -> pa.Table:
    """A store, a selection or image sets as one Arrow table in memory, which pandas and Polars take.

    Args:
        data: open, or its folder.
        columns: of the table; all by default. A store's table begins with `row_id`, then come the columns of
            `index.store.metadata.METADATA_SCHEMA` and an adopted store's own. A selection has those of
            `retrieval.selection.SELECTION_SCHEMA`; image sets have one row a set, with the columns of
            `mining.sets.nested_table.NESTED_SCHEMA`.
        vectors: of a store, "image", "text" or both: columns `image_vector`, `text_vector` of float32 lists, of unit
            length or zero where a vector has inf or NaN.

    Raises:
        BadInput: an unknown column, vectors of something else than a store, a folder of another kind.
    """
    rows = _rows_of(data, columns, vectors)
    tables = [table for part in range(rows.parts) for table in rows.read(part)]
    return pa.concat_tables([rows.schema.empty_table(), *tables])


def to_spark(
    data: Data,
    spark: SparkSession,
    *,
    columns: Sequence[str] | None = None,
    vectors: Modality | Sequence[Modality] = (),
) -> DataFrame:
    """A store, a selection or image sets as a data frame of the session `spark`, with the columns of `to_arrow`.

    No row passes through this process. The frame has the parts that are there at the call; call it again after
    `clipmine forget`, or after the store grew. The workers of Spark must see the folder.

    Raises:
        BadInput: as `to_arrow`, and for something that is no session.
        ClipmineError: Spark has no type for a column; its message names it.
    """
    if not (type(spark).__module__.startswith("pyspark.sql") and hasattr(spark, "createDataFrame")):
        raise BadInput(f"`spark` is a {type(spark).__name__}; give a SparkSession: SparkSession.builder.getOrCreate()")
    rows = _rows_of(data, columns, vectors)
    with spark_errors("a data frame"):
        if isinstance(rows, _StoreRows) and rows.in_files:
            return _from_files(rows, spark)
        schema = spark_schema(spark, rows.schema)
        # A server of Spark Connect has settings of its own, and may be shared with people who should not have ours.
        environment = {} if is_connect(spark) else storage_settings()

        def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            os.environ.update(environment)
            for batch in batches:
                for part in batch.column(0).to_pylist():
                    for table in rows.read(part):
                        yield from table.combine_chunks().to_batches()

        return spark.range(0, rows.parts, 1, max(rows.parts, 1)).mapInArrow(read, schema)


class _Rows(Protocol):
    """What is read part by part; sent to workers."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def parts(self) -> int: ...

    def read(self, part: int) -> Iterator[pa.Table]:
        """The part's rows that are not forgotten, as tables of `schema`."""
        ...


def _rows_of(data: Data, columns: Sequence[str] | None, vectors: Modality | Sequence[Modality]) -> _Rows:
    opened = _open(data) if isinstance(data, str | os.PathLike) else data
    asked: tuple[Modality, ...] = (vectors,) if isinstance(vectors, str) else tuple(dict.fromkeys(vectors))
    if columns is not None:
        columns = list(dict.fromkeys([columns] if isinstance(columns, str) else columns))
    if isinstance(opened, EmbeddingStore):
        return _StoreRows.of(opened, columns, asked)
    if asked:
        raise BadInput("`vectors` are of a store; join them with the rows by row_id")
    if isinstance(opened, Selection):
        return _SelectionRows(opened, _named(columns, SELECTION_SCHEMA))
    if isinstance(opened, ImageSets):
        return _SetRows(str(absolute(opened.path)), opened.numbers, _named(columns, NESTED_SCHEMA))
    raise BadInput(f"{type(opened).__name__}: give a store, a selection or image sets, or the folder of one")


def _open(path: str | os.PathLike[str]) -> EmbeddingStore | Selection | ImageSets:
    folder = str(absolute(os.fspath(path)))
    kinds: dict[str, Any] = {"clipmine-selection": Selection, "clipmine-image-sets": ImageSets}
    try:
        name = join(folder, "manifest.json")
        manifest = json.loads(read_bytes(name)) if exists(name) else None
    except ValueError:
        manifest = None
    found: EmbeddingStore | Selection | ImageSets
    found = kinds.get(str(manifest.get("format")) if isinstance(manifest, dict) else "", EmbeddingStore).open(folder)
    return found


def _named(columns: Sequence[str] | None, schema: pa.Schema) -> pa.Schema:
    """The fields of these names, in their order."""
    unknown = [name for name in columns or () if name not in schema.names]
    if unknown:
        raise BadInput(f"no column {unknown[0]!r}; there are: {', '.join(schema.names)}")
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


# The store that a worker opened last: its parts are opened one after the other.
_opened: dict[str, EmbeddingStore] = {}


def _store(path: str) -> EmbeddingStore:
    store = _opened.get(path)
    if store is None or store.changed():
        store = EmbeddingStore.open(path)
        _opened.clear()
        _opened[path] = store
    return store


@dataclass(frozen=True)
class _StoreRows:
    path: str
    parts: int
    schema: pa.Schema
    columns: tuple[str, ...]  # of the metadata
    vectors: tuple[Modality, ...]
    in_files: bool  # the Parquet files hold these columns under these names, in these types

    @classmethod
    def of(cls, store: EmbeddingStore, columns: Sequence[str] | None, vectors: tuple[Modality, ...]) -> _StoreRows:
        chosen = None if columns is None else [name for name in columns if name != "row_id"]
        fields = []
        if chosen is None or chosen:
            first = next(
                (table for _, table in store.iter_metadata(chosen, batch_rows=1)), METADATA_SCHEMA.empty_table()
            )
            # A column that is empty where it was looked at is read as text.
            fields = [
                pa.field(each.name, pa.string() if pa.types.is_null(each.type) else each.type) for each in first.schema
            ]
        for modality in vectors:
            store.embeddings(modality, 0)  # BadInput where it has none
        vector = pa.list_(pa.float32())
        schema = pa.schema([("row_id", pa.int64()), *fields, *((f"{modality}_vector", vector) for modality in vectors)])
        in_files = store.manifest.kind == "embedded" and bool(fields) and not vectors
        in_files = in_files and all(field.name in METADATA_SCHEMA.names for field in fields)
        names = tuple(field.name for field in fields)
        return cls(as_url(store.path), len(store.parts), schema, names, vectors, in_files)

    def read(self, part: int) -> Iterator[pa.Table]:
        store = _store(self.path)
        known = store.parts[part]
        row, end = known.first_row, known.first_row + known.rows
        metadata = store.part_metadata(part, self.columns, _BATCH_ROWS) if self.columns else None
        while row < end:
            table = next(metadata) if metadata is not None else None
            ids = np.arange(row, min(row + _BATCH_ROWS, end) if table is None else row + table.num_rows)
            arrays: dict[str, Any] = {"row_id": ids}
            if table is not None:
                arrays |= {name: self._typed(table, name, known.name) for name in self.columns}
            for modality in self.vectors:
                arrays[f"{modality}_vector"] = _lists(next(store.blocks(modality, len(ids), row, row + len(ids)))[1])
            yield pa.table(arrays, schema=self.schema).filter(pa.array(~store.is_forgotten(ids)))
            row += len(ids)

    def _typed(self, table: pa.Table, name: str, part: str) -> pa.ChunkedArray:
        wanted = self.schema.field(name).type
        try:
            return table[name].cast(wanted)
        except pa.ArrowException as error:
            raise StoreInvalid(
                f"{self.path}: the column {name!r} is {table[name].type} in part {part} and {wanted} before; leave it "
                f"out with `columns`, or run `clipmine adopt {self.path}` again, which finds one type"
            ) from error


def _lists(vectors: Any) -> pa.ListArray:
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.astype(np.float32).ravel()))


@dataclass(frozen=True)
class _SelectionRows:
    selection: Selection
    schema: pa.Schema

    @property
    def parts(self) -> int:
        return len(self.selection.manifest["rows"]["parts"])

    def read(self, part: int) -> Iterator[pa.Table]:
        names = list(dict.fromkeys([*self.schema.names, "row_id"]))
        table = self.selection.read_part(self.selection.manifest["rows"]["parts"][part], names)
        gone = self.selection.is_forgotten(table["row_id"].to_numpy())
        yield table.filter(pa.array(~gone)).select(self.schema.names)


@lru_cache(maxsize=1)
def _layout(path: str) -> Layout:
    return read_layout(path)


@dataclass(frozen=True)
class _SetRows:
    path: str
    numbers: npt.NDArray[np.int64]
    schema: pa.Schema

    @property
    def parts(self) -> int:
        return -(-len(self.numbers) // _BATCH_ROWS)

    def read(self, part: int) -> Iterator[pa.Table]:
        some = self.numbers[part * _BATCH_ROWS : (part + 1) * _BATCH_ROWS]
        yield nested_table(_layout(self.path), some, self.schema.names)


def _from_files(rows: _StoreRows, spark: SparkSession) -> DataFrame:
    """The metadata as Spark reads it: a row's id is the first row of its file's part + its place in the file."""
    from pyspark.sql import functions

    store = EmbeddingStore.open(rows.path)
    paths = [as_url(part_path(store.path, part, "metadata")) for part in store.parts]
    literal = [re.sub(r"([\\{}\[\]*?])", r"\\\1", spark_path(path)) for path in paths]  # Spark expands patterns
    firsts = pa.table(
        {
            "_file": [path.rpartition("/")[2] for path in paths],
            "_first": pa.array([part.first_row for part in store.parts], pa.int64()),
        }
    )
    schema = spark_schema(spark, METADATA_SCHEMA)
    place = [functions.col(f"_metadata.{name}").alias(f"_{name}") for name in ("file_name", "row_index")]
    frame = spark.read.schema(schema).parquet(*literal).select("*", *place)
    parts = functions.broadcast(spark.createDataFrame(firsts))
    frame = frame.join(parts, functions.expr("_file_name = _file"))
    frame = frame.withColumn("row_id", functions.expr("_first + _row_index"))
    if len(store.forgotten):
        gone = spark.createDataFrame(pa.table({"row_id": store.forgotten}))
        frame = frame.join(functions.broadcast(gone), "row_id", "left_anti")
    return frame.select(*rows.schema.names)
