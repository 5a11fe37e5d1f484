"""The rows that name each individual, listed range by range: the first half of `identity`.

A range of rows becomes one file with a row group for each bucket of names, so that a later task reads all rows of its
bucket's individuals and nothing else.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.files import exists, join, write_atomic
from index.parquet import open_parquet, read_parquet
from mining.strategies.context import MiningContext
from mining.strategies.metadata_fields import Value, row_values
from mining.strategies.minable import minable_rows

__all__ = ["RangeItem", "Seen", "list_range", "read_bucket"]

_READ_ROWS = 10_000
_SEEN_SCHEMA = pa.schema(
    [
        ("bucket", pa.int32()),
        ("entity", pa.string()),
        ("row", pa.int64()),
        ("number", pa.float64()),  # the value of `order`, as a number or as a word
        ("word", pa.string()),
        ("context", pa.string()),
    ]
)


@dataclass(frozen=True)
class RangeItem:
    """The rows at positions start .. stop - 1 of those that may be mined. buckets: how many there are.

    columns: the metadata columns that hold the entity, the order and the context; "" for one that was not asked for.
    """

    name: str
    start: int
    stop: int
    buckets: int
    columns: tuple[str, str, str]


@dataclass(frozen=True)
class Seen:
    """Counts of a range: rows, and (row, individual) pairs in them (`named`).

    unordered: pairs without a value of `order`. without_context: other pairs without a value of `context`.
    """

    rows: int
    named: int
    unordered: int
    without_context: int


def list_range(item: RangeItem, ctx: MiningContext) -> Seen:
    """Write the individuals of a range of rows, a row group a bucket; returns the counts."""
    target = _file(ctx, item.name)
    minable = minable_rows(ctx, ctx.open_store())
    rows = minable.rows(item.start, item.stop)
    if exists(target):
        return _counts(ctx, len(rows), read_parquet(target, ["number", "word", "context"]))
    config = ctx.config
    wanted = sorted(set(item.columns) - {""})
    found: list[tuple[int, str, int, float | None, str | None, str | None]] = []
    for start in range(0, len(rows), _READ_ROWS):
        some = rows[start : start + _READ_ROWS]
        table = minable.store.metadata(some, wanted)
        values: list[list[list[Value]]] = [
            row_values(table, column, field) if field else [[] for _ in some]
            for column, field in zip(item.columns, (config.entity, config.order, config.context), strict=True)
        ]
        for row, own, order, context in zip(some.tolist(), *values, strict=True):
            place = _sortable(order[0]) if order else (None, None)
            # A row in several contexts at once has all of them as its context.
            around = " and ".join(sorted(map(str, context))) or None
            for name in dict.fromkeys(map(str, own)):
                bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % item.buckets
                found.append((bucket, name, row, *place, around))
    found.sort(key=lambda each: each[:3])
    table = pa.table([list(column) for column in zip(*found, strict=True)] or [[]] * 6, schema=_SEEN_SCHEMA)
    buffer = io.BytesIO()
    ends = np.searchsorted(table["bucket"].to_numpy(), np.arange(item.buckets + 1))
    with pq.ParquetWriter(buffer, _SEEN_SCHEMA, compression="zstd") as writer:
        for first, last in zip(ends[:-1], ends[1:], strict=True):  # noqa: RUF007
            writer.write_table(table.slice(first, last - first), row_group_size=max(1, last - first))
    write_atomic(target, buffer.getvalue())
    return _counts(ctx, len(rows), table)


def read_bucket(ctx: MiningContext, ranges: tuple[str, ...], bucket: int) -> pa.Table:
    """The rows of a bucket's individuals in all ranges that have what is asked for: entity, row, number, word, context.

    Sorted by range, then entity and row.
    """
    pieces = [_SEEN_SCHEMA.empty_table()]
    for name in ranges:
        with open_parquet(_file(ctx, name)) as file:
            pieces.append(file.read_row_group(bucket))
    table = pa.concat_tables(pieces).combine_chunks()
    if ctx.config.order:
        table = table.filter(pc.or_(pc.is_valid(table["number"]), pc.is_valid(table["word"])))
    return table.filter(pc.is_valid(table["context"])) if ctx.config.context else table


def _counts(ctx: MiningContext, rows: int, table: pa.Table) -> Seen:
    ordered = pc.or_(pc.is_valid(table["number"]), pc.is_valid(table["word"]))
    if not ctx.config.order:
        ordered = pa.array(np.ones(table.num_rows, np.bool_))
    without = pc.and_(ordered, pc.is_null(table["context"]))
    alone = int(pc.sum(without, min_count=0).as_py()) if ctx.config.context else 0
    return Seen(rows, table.num_rows, table.num_rows - int(pc.sum(ordered, min_count=0).as_py()), alone)


def _sortable(value: Value) -> tuple[float | None, str | None]:
    return (None, value) if isinstance(value, str) else (float(value), None)


def _file(ctx: MiningContext, name: str) -> str:
    return join(ctx.folder, f"seen_{name}.parquet")
