"""`identity`: one individual in several pictures, named by a field of the metadata.

Sets have `set_size` members. With `order` the members are sorted by that field and all have different values of it:
with `--entity truth.story --order truth.step --set-size 4` a set is a story. The work is two maps: each range of rows
lists the individuals in it, and each bucket of names makes the sets of its individuals.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import exists, join, open_file, read_bytes, write_atomic
from index.hashing import hash_rows
from mining.strategies.bands import BANDS, OVERSAMPLED, even_bands, rank_in_groups
from mining.strategies.context import (
    CANDIDATES_SCHEMA,
    Candidates,
    MapItems,
    MiningContext,
    candidates_table,
    sentences,
)
from mining.strategies.metadata_fields import field_column, fields_there, row_values
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.similarity import set_similarity

__all__ = ["identity"]

RowIds = npt.NDArray[np.int64]

# Rows whose metadata is read as one item; parsing their JSON takes a few seconds on a core.
ITEM_ROWS = 100_000
_READ_ROWS = 10_000
# Rows that name an individual, a bucket; a bucket is sorted in memory.
BUCKET_ROWS = 5_000_000
# How often the rows of an individual are shuffled and cut into sets; each row is in at most so many sets.
SHUFFLES = 8
_SEEN_SCHEMA = pa.schema(
    [
        ("bucket", pa.int32()),
        ("entity", pa.string()),
        ("row", pa.int64()),
        ("number", pa.float64()),
        ("word", pa.string()),
    ]
)


@dataclass(frozen=True)
class RangeItem:
    """The rows at positions start .. stop - 1 of those that may be mined. buckets: how many there are."""

    name: str
    start: int
    stop: int
    buckets: int
    columns: tuple[str, str]  # of the entity, and of the order


@dataclass(frozen=True)
class BucketItem:
    """The names of one bucket, in the lists of all ranges. keep: the share of the sets that is kept."""

    name: str
    bucket: int
    ranges: tuple[str, ...]
    shuffles: int
    keep: float


@dataclass(frozen=True)
class Seen:
    """Counts of a range: rows, (row, individual) pairs in them, and those of these pairs without a value of `order`."""

    rows: int
    named: int
    unordered: int


def identity(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Sets of one individual; the level is the band of image similarity, 1 the most similar.

    Raises BadInput without `entity`, or when no row has a value of it.
    """
    config = ctx.config
    if config.entity is None:
        raise BadInput("identity needs --entity FIELD, which names the individual in the metadata")
    store = ctx.open_store()
    minable = minable_rows(ctx, store)
    columns = (field_column(store, config.entity), field_column(store, config.order) if config.order else "")
    buckets = -(-minable.count // BUCKET_ROWS)
    ranges = [
        RangeItem(f"{number:06d}", start, min(start + ITEM_ROWS, minable.count), buckets, columns)
        for number, start in enumerate(range(0, minable.count, ITEM_ROWS))
    ]
    seen = map_items(list_range, ranges, "mine identity: read metadata")
    named, unordered = sum(each.named for each in seen), sum(each.unordered for each in seen)
    if not named:
        raise BadInput(f"{store.path}: no row has a value in {config.entity}; {fields_there(minable)}")
    wanted = OVERSAMPLED * ctx.wanted
    a_shuffle = max(1, (named - unordered) // config.set_size)
    shuffles = min(SHUFFLES, -(-wanted // a_shuffle))
    keep = min(1.0, 2 * wanted / (a_shuffle * shuffles))
    names = tuple(item.name for item in ranges)
    items = [BucketItem(f"{bucket:04d}", bucket, names, shuffles, keep) for bucket in range(buckets)]
    alone = sum(map_items(make_sets, items, "mine identity: make sets"))
    table = pa.concat_tables([_read_table(ctx, f"sets_{item.name}.parquet") for item in items]).combine_chunks()
    members = _matrix(table["rows"], config.set_size)
    image_sim, _ = set_similarity(store, "image", members)
    table, levels = _with_levels(table, image_sim, config.near_duplicates)
    notes = [f"{config.entity} names an individual {named:,} times, {alone:,} times one that is too rare for a set"]
    if config.order:
        notes.append(f"members are sorted by {config.order}")
    dropped = {f"no value in {config.order}": unordered} if config.order else {}
    dropped["named too seldom"] = alone
    return Candidates(table, named, dropped, tuple(notes), levels)


def list_range(item: RangeItem, ctx: MiningContext) -> Seen:
    """Write the individuals of a range of rows, a row group a bucket; returns the counts."""
    target = join(ctx.folder, f"seen_{item.name}.parquet")
    minable = minable_rows(ctx, ctx.open_store())
    config = ctx.config
    rows = minable.rows(item.start, item.stop)
    if exists(target):
        with open_file(target) as stream:
            table = pq.read_table(stream, columns=["number", "word"])
        return Seen(len(rows), table.num_rows, _unordered(table) if config.order else 0)
    found: list[tuple[int, str, int, float | None, str | None]] = []
    entity_column, order_column = item.columns
    wanted = sorted({entity_column, order_column} - {""})
    for start in range(0, len(rows), _READ_ROWS):
        some = rows[start : start + _READ_ROWS]
        table = minable.store.metadata(some, wanted)
        entities = row_values(table, entity_column, str(config.entity))
        orders = row_values(table, order_column, config.order) if config.order else [[] for _ in entities]
        for row, own, order in zip(some.tolist(), entities, orders, strict=True):
            place = order[0] if order else None
            number = float(place) if isinstance(place, int | float) else None
            for entity in own:
                name = str(entity)
                bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % item.buckets
                found.append((bucket, name, row, number, place if isinstance(place, str) else None))
    found.sort(key=lambda each: each[:3])
    table = pa.table([list(column) for column in zip(*found, strict=True)] or [[]] * 5, schema=_SEEN_SCHEMA)
    buffer = io.BytesIO()
    ends = np.searchsorted(table["bucket"].to_numpy(), np.arange(item.buckets + 1))
    with pq.ParquetWriter(buffer, _SEEN_SCHEMA, compression="zstd") as writer:
        for first, last in zip(ends[:-1], ends[1:], strict=True):  # noqa: RUF007
            writer.write_table(table.slice(first, last - first), row_group_size=max(1, last - first))
    write_atomic(target, buffer.getvalue())
    return Seen(len(rows), table.num_rows, _unordered(table) if config.order else 0)


def make_sets(item: BucketItem, ctx: MiningContext) -> int:
    """Write the sets of a bucket's individuals; returns the rows of those with too few rows for a set."""
    target, config = join(ctx.folder, f"sets_{item.name}.parquet"), ctx.config
    pieces = [_SEEN_SCHEMA.empty_table()]
    for name in item.ranges:
        with pq.ParquetFile(join(ctx.folder, f"seen_{name}.parquet")) as file:
            pieces.append(file.read_row_group(item.bucket))
    table = pa.concat_tables(pieces).combine_chunks()
    if config.order:
        ordered = pc.or_(pc.is_valid(table["number"]), pc.is_valid(table["word"]))
        table = table.filter(ordered)
    names = table["entity"].combine_chunks().dictionary_encode()
    entity, rows = names.indices.to_numpy(), table["row"].to_numpy()
    times = np.bincount(entity, minlength=len(names.dictionary))
    alone = int((times < config.set_size).sum() and times[times < config.set_size].sum())
    enough = np.flatnonzero(times[entity] >= config.set_size)
    if exists(target):
        return alone
    place = _order(table)
    made, of = [np.empty((0, config.set_size), np.int64)], [np.empty(0, np.int64)]
    for turn in range(item.shuffles):
        sets = _cut(entity, rows, enough, config.set_size, config.seed * 1_000 + turn)
        sets = np.take_along_axis(sets, np.argsort(place[sets], axis=1, kind="stable"), axis=1)
        if config.order:
            sets = sets[(np.diff(place[sets], axis=1) > 0).all(axis=1)]
        else:
            sets = np.take_along_axis(sets, np.argsort(rows[sets], axis=1), axis=1)
        made.append(rows[sets])
        of.append(entity[sets[:, 0]])
    members, owner = np.concatenate(made), np.concatenate(of)
    # A row may name an individual twice, as text and as a number; a set never contains a row twice.
    ascending = np.sort(members, axis=1)
    _, first = np.unique(ascending, axis=0, return_index=True)
    chosen = np.sort(first)
    chosen = chosen[(np.diff(ascending[chosen], axis=1) > 0).all(axis=1)]
    limit = np.uint64(int(item.keep * float((1 << 63) - 1)))
    chosen = chosen[(hash_rows(ascending[chosen], config.seed) >> np.uint64(1)) <= limit]
    entities = names.dictionary.take(pa.array(owner[chosen]))
    reasons = [sentences(f"the same {config.entity}: {{}}", entities)]
    if config.order:
        shown = _shown_order(table)
        back = {int(row): text for row, text in zip(rows.tolist(), shown, strict=True)}
        in_order = [", ".join(back[row] for row in each) for each in members[chosen].tolist()]
        reasons.append(sentences(f"in the order of {config.order}: {{}}", pa.array(in_order, "string")))
    found = candidates_table(members[chosen], reasons=reasons, entity=entities)
    buffer = io.BytesIO()
    pq.write_table(found, buffer, compression="zstd")
    write_atomic(target, buffer.getvalue())
    return alone


def _cut(entity: RowIds, rows: RowIds, places: RowIds, size: int, seed: int) -> RowIds:
    """int64 [n, size]: places of the members of sets: the rows of each individual, shuffled and cut into sets."""
    shuffled = places[np.lexsort((hash_rows(rows[places, None], seed), entity[places]))]
    own = entity[shuffled]
    rank = rank_in_groups(own)
    times = np.bincount(own, minlength=int(own.max(initial=-1)) + 1)[own] if len(own) else own
    whole = shuffled[rank < times // size * size]
    cut: RowIds = whole.reshape(-1, size)
    return cut


def _order(table: pa.Table) -> RowIds:
    """int64 [n]: the rank of each row's value of `order`; equal values have equal ranks."""
    if not table.num_rows:
        return np.empty(0, np.int64)
    words = table["word"].combine_chunks().fill_null("").to_numpy(zero_copy_only=False).astype(str)
    numbers = np.nan_to_num(table["number"].to_numpy(), nan=np.inf)
    _, word_place = np.unique(words, return_inverse=True)
    _, place = np.unique(np.stack([numbers, word_place], axis=1), axis=0, return_inverse=True)
    found: RowIds = np.asarray(place).reshape(-1).astype(np.int64)
    return found


def _shown_order(table: pa.Table) -> list[str]:
    return [
        word if word is not None else f"{number:g}"
        for word, number in zip(table["word"].to_pylist(), table["number"].to_pylist(), strict=True)
    ]


def _unordered(table: pa.Table) -> int:
    return int(pc.sum(pc.and_(pc.is_null(table["number"]), pc.is_null(table["word"]))).as_py() or 0)


def _matrix(rows: pa.ChunkedArray, size: int) -> RowIds:
    members: RowIds = rows.combine_chunks().flatten().to_numpy().reshape(-1, size)
    return members


def _read_table(ctx: MiningContext, name: str) -> pa.Table:
    return pq.read_table(io.BytesIO(read_bytes(join(ctx.folder, name))), schema=CANDIDATES_SCHEMA)


def _with_levels(
    table: pa.Table, image_sim: npt.NDArray[np.float32], ceiling: float
) -> tuple[pa.Table, dict[str, float]]:
    """Set the levels: bands of equal width of image similarity, from the 1st percentile to near-duplicates."""
    known = image_sim[np.isfinite(image_sim)]
    least = round(float(np.quantile(known, 0.01)), 3) if len(known) else 0.0
    clipped = np.clip(np.nan_to_num(image_sim, nan=least), least, max(least, ceiling) - 1e-6)
    level = BANDS + 1 - even_bands(clipped, least, max(least, ceiling))
    column = table.schema.get_field_index("level")
    return table.set_column(column, CANDIDATES_SCHEMA.field("level"), pa.array(level.astype(np.int32))), {
        "least": least
    }
