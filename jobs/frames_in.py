"""Data frames as input: `write_table` writes a frame of URLs as Parquet, `chosen_rows` gives the row ids of a frame.

    FOLDER/frame.json          the columns with their types: the claim of the folder
    FOLDER/table.parquet/      the rows, written by the workers of Spark or Ray, or here
    FOLDER/manifest.json       written last: the number of rows and a checksum of their values

A frame is written once. Asked again, its rows are counted and summed (of Ray Data, counted alone), and must be those
that were written.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.corpus.table_rows import Columns, check_names, check_types
from index.errors import BadInput, OutputExists
from index.files import join, list_names, make_folder, read_bytes, write_atomic
from index.lease import only_writer
from index.outputs import claim_folder, remove_folder, unused_claim_released
from index.parquet import open_parquet
from index.store.find_rows import find_rows
from jobs.frame_kinds import Content, open_frame

if TYPE_CHECKING:
    from index.store.embedding_store import EmbeddingStore

__all__ = ["TABLE", "chosen_rows", "write_table"]

TABLE = "table.parquet"
_CLAIM = "frame.json"
_FOOTERS_AT_ONCE = 16


def write_table(frame: Any, folder: str, columns: Columns) -> str:
    """Write the wanted columns of a frame of URLs into `folder`, unless they are there; returns the table's path.

    Raises:
        BadInput: the frame has no rows, lacks a column or has one of a type that cannot serve; a frame of Spark or Ray
            whose workers write where this machine does not see it; a stream.
        OutputExists: another frame was written there.
        ClipmineError: Spark stopped; the message has the first line of its reason.
    """
    opened = open_frame(frame)
    names = list(dict.fromkeys(columns.wanted))
    check_names("the frame", opened.names, columns)
    schema = opened.schema(names)
    check_types("the frame", schema, columns)
    types = {field.name: str(field.type) for field in schema}
    table = join(folder, TABLE)
    with only_writer(folder), unused_claim_released(folder, _CLAIM):
        if claim_folder(folder, _CLAIM, {"columns": types}, values=True):
            written = Content(**json.loads(read_bytes(join(folder, "manifest.json"))))
            found = opened.content(names)
            if found != written:
                other = f"{written.rows:,} rows, not {found.rows:,}" if found.rows != written.rows else "other values"
                raise OutputExists(
                    f"{folder}: was written from another frame ({other}); choose another `out`, or give the table "
                    f"{table} instead of the frame to go on with what was written"
                )
            return table
        remove_folder(table)  # of a run that was killed
        make_folder(table)
        content = opened.write(names, table)
        if not content.rows:
            remove_folder(table)
            raise BadInput("the frame has no rows")
        there = _count_rows(table)
        if there != content.rows:
            raise BadInput(
                f"{table}: has {there:,} of the {content.rows:,} rows that were written; the workers and this machine "
                "do not see the same folder, so choose an `out` in a network file system or an object store"
            )
        write_atomic(join(folder, "manifest.json"), json.dumps({"rows": content.rows, "checksum": content.checksum}))
    return table


def chosen_rows(frame: Any, store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """The ascending row ids of `store` that a frame names in its column `row_id`, or by their keys in `key`.

    All rows with one of the keys are chosen. The column is read into memory and sorted: 16 bytes a row id.

    Raises:
        BadInput: neither column is there, or it has no rows, nulls, repeated values, or values that the store lacks.
    """
    opened = open_frame(frame)
    names = opened.names
    name = next((each for each in ("row_id", "key") if each in names), None)
    if name is None:
        raise BadInput(f"the frame has no column 'row_id' or 'key'; its columns are {', '.join(names)}")
    if names.count(name) > 1:
        raise BadInput(f"the frame has {names.count(name)} columns named {name!r}; rename all but one")
    column = opened.column(name)
    if not len(column):
        raise BadInput("the frame has no rows")
    if column.null_count:
        raise BadInput(f"the frame's column {name!r} has {column.null_count:,} nulls; filter them out")
    if name == "row_id" and not pa.types.is_integer(column.type):
        raise BadInput(f"the frame's column 'row_id' is of type {column.type}; row ids are whole numbers")
    try:
        column = column.cast(pa.int64() if name == "row_id" else pa.string())
    except pa.ArrowException as error:
        raise BadInput(f"the frame's column {name!r} is of type {column.type}, which does not serve") from error
    if name == "row_id":
        return _checked_ids(column, store)
    if (different := len(column.unique())) < len(column):
        counts = column.value_counts()
        repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        raise _repeats(name, len(column) - different, repeated[0].as_py())
    keys = column.to_pylist()
    found = find_rows(store, {"key": keys})["key"]
    if found.missing:
        raise BadInput(
            f"{store.path}: has no row for {len(found.missing):,} of the frame's {len(keys):,} keys (the first is "
            f"{found.missing[0]!r:.100}); filter them out"
        )
    return np.sort(found.rows)


def _checked_ids(column: pa.ChunkedArray, store: EmbeddingStore) -> npt.NDArray[np.int64]:
    ids: npt.NDArray[np.int64] = np.sort(column.to_numpy())
    if len(again := np.flatnonzero(ids[1:] == ids[:-1])):
        raise _repeats("row_id", len(again), int(ids[again[0]]))
    if ids[0] < 0 or ids[-1] >= store.rows:
        wrong = ids[0] if ids[0] < 0 else ids[-1]
        raise BadInput(f"{store.path}: has no row {wrong}, which the frame names; its rows are 0 to {store.rows - 1}")
    return ids


def _repeats(name: str, count: int, first: object) -> BadInput:
    return BadInput(
        f"the frame's column {name!r} repeats {count:,} values (the first is {first!r:.100}); drop the duplicates"
    )


def _count_rows(table: str) -> int:
    def rows(name: str) -> int:
        with open_parquet(join(table, name)) as file:
            return int(file.metadata.num_rows)

    names = [name for name in list_names(table) if name.endswith(".parquet") and not name.startswith(".")]
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return sum(pool.map(rows, names))
