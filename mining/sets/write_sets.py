"""Write image sets in the format of `mining.sets.layouts`: part files first, the manifest last.

    write_image_sets("pairs", sets, members_table(store, sets), {"store": describe_store(store, "pairs"), "seed": 0})

The same sets give the same bytes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import join, write_atomic
from index.store.embedding_store import EmbeddingStore
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import FORMAT, GROUP_SETS, MEMBERS_SCHEMA, SETS_SCHEMA, VERSION

__all__ = ["PART_SETS", "ImageSetsWriter", "members_table", "set_ids", "write_image_sets"]

PART_SETS = 200 * GROUP_SETS  # about 10 MB for pairs with captions
_METADATA_ROWS = 65_536  # rows whose metadata is read at a time


def write_image_sets(
    path: str | os.PathLike[str], sets: pa.Table, members: pa.Table, manifest_fields: Mapping[str, Any]
) -> ImageSets:
    """Write all sets at once; ImageSetsWriter takes them piece by piece.

    sets: SETS_SCHEMA. members: MEMBERS_SCHEMA, in the order of the sets and of the positions within each. Nullable
    columns may be missing. manifest_fields: JSON data, with `store` from `describe_store`. Raises BadInput when the
    members are not those of the sets.
    """
    writer = ImageSetsWriter(path)
    writer.add(sets, members)
    return writer.finish(manifest_fields)


class ImageSetsWriter:
    """Takes sets with their members in pieces of any size and writes a part as soon as it is full."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._parts: list[dict[str, Any]] = []
        self._sets = SETS_SCHEMA.empty_table()
        self._members = MEMBERS_SCHEMA.empty_table()

    def add(self, sets: pa.Table, members: pa.Table) -> None:
        """Append sets. Raises BadInput when the members are not those of the sets, in their order."""
        sets, members = _with_schema(sets, SETS_SCHEMA), _with_schema(members, MEMBERS_SCHEMA)
        _check_members(sets, members)
        self._sets = pa.concat_tables([self._sets, sets])
        self._members = pa.concat_tables([self._members, members])
        while self._sets.num_rows >= PART_SETS:
            self._write_part(PART_SETS)

    def finish(self, manifest_fields: Mapping[str, Any]) -> ImageSets:
        """Write the last part and then the manifest; returns the sets, opened."""
        if self._sets.num_rows or not self._parts:
            self._write_part(self._sets.num_rows)
        counts = {name: sum(part[name] for part in self._parts) for name in ("rows", "members")}
        manifest = {
            **manifest_fields,
            "format": FORMAT,
            "version": VERSION,
            "sets": counts["rows"],
            "members": counts["members"],
            "group_sets": GROUP_SETS,
            "parts": self._parts,
        }
        write_atomic(join(self.path, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
        return ImageSets.open(self.path)

    def _write_part(self, count: int) -> None:
        number = len(self._parts)
        names = (f"sets/sets_{number:04d}.parquet", f"members/members_{number:04d}.parquet")
        sets = self._sets.slice(0, count).combine_chunks()
        starts = np.concatenate([[0], np.cumsum(sets["size"].to_numpy(), dtype=np.int64)])
        members = self._members.slice(0, int(starts[-1])).combine_chunks()
        bounds = [*range(0, count, GROUP_SETS), count]
        write_atomic(join(self.path, names[0]), _parquet(sets, bounds))
        write_atomic(join(self.path, names[1]), _parquet(members, [int(starts[bound]) for bound in bounds]))
        self._parts.append({"file": names[0], "members_file": names[1], "rows": count, "members": members.num_rows})
        self._sets, self._members = self._sets.slice(count), self._members.slice(members.num_rows)


def set_ids(rows: pa.Array | pa.ChunkedArray) -> pa.Array:
    """string [n]: the set ids for lists of row ids, list<int64> [n]."""
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    words = pa.ListArray.from_arrays(_offsets(lists), lists.flatten().cast(pa.string()))
    return pc.binary_join(words, "_")


def members_table(store: EmbeddingStore, sets: pa.Table) -> pa.Table:
    """The members of `sets` (SETS_SCHEMA) as MEMBERS_SCHEMA, from the store's metadata of the rows in their ids.

    A member's entity is that of its set, or else the only named individual in the image's ground truth.
    """
    words = pc.split_pattern(sets["set_id"], "_").combine_chunks()
    sizes = pc.list_value_length(words).to_numpy().astype(np.int64)
    rows = words.flatten().cast(pa.int64()).to_numpy()
    owners = np.repeat(np.arange(sets.num_rows), sizes)
    distinct, places = np.unique(rows, return_inverse=True)
    known = [
        _known(store, distinct[first : first + _METADATA_ROWS]) for first in range(0, len(distinct), _METADATA_ROWS)
    ]
    images = pa.concat_tables(known).take(pa.array(places)) if known else _known(store, distinct)
    starts = np.cumsum(sizes) - sizes
    columns = {
        "set_id": sets["set_id"].take(pa.array(owners)),
        "position": pa.array((np.arange(len(rows)) - starts[owners]).astype(np.int32)),
        "row_id": pa.array(rows),
        **{name: images[name] for name in ("key", "shard", "offset", "caption", "sha256", "scene")},
        "bytes": images["size"],
        "entity": pc.coalesce(sets["entity"].take(pa.array(owners)), images["entity"]),
    }
    return pa.table({name: columns[name] for name in MEMBERS_SCHEMA.names}).cast(MEMBERS_SCHEMA)


def _known(store: EmbeddingStore, rows: npt.NDArray[np.int64]) -> pa.Table:
    table = store.metadata(rows, ["key", "shard", "offset", "size", "caption", "sha256", "extra"])
    truths = [_truth(extra) for extra in table["extra"].to_pylist()]
    scenes = pa.array([None if truth is None else json.dumps(truth) for truth in truths], pa.string())
    entities = pa.array([_only_entity(truth) for truth in truths], pa.string())
    return table.drop_columns("extra").append_column("scene", scenes).append_column("entity", entities)


def _truth(extra: str | None) -> dict[str, Any] | None:
    if not extra or '"truth"' not in extra:
        return None
    truth = json.loads(extra, parse_constant=lambda name: None).get("truth")  # NaN, which JSON lacks, becomes null
    return truth if isinstance(truth, dict) else None


def _only_entity(truth: dict[str, Any] | None) -> str | None:
    objects = truth.get("objects") if truth else None
    if not isinstance(objects, list):
        return None
    named = {each["entity"] for each in objects if isinstance(each, dict) and each.get("entity")}
    return str(named.pop()) if len(named) == 1 else None


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def _check_members(sets: pa.Table, members: pa.Table) -> None:
    sizes = sets["size"].to_numpy() if not sets["size"].null_count else np.zeros(sets.num_rows)
    if len(sizes) and sizes.min() < 1:
        raise BadInput("image sets: a set has no members")
    if sizes.sum() != members.num_rows:
        raise BadInput(f"image sets: {members.num_rows} members given, the sets' sizes add up to {int(sizes.sum())}")
    rows = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)), members["row_id"].combine_chunks()
    )
    belongs = pc.equal(members["set_id"], sets["set_id"].take(pa.array(np.repeat(np.arange(len(sizes)), sizes))))
    named = pc.equal(set_ids(rows), sets["set_id"])
    if not pc.all(belongs, min_count=0).as_py() or not pc.all(named, min_count=0).as_py():
        raise BadInput("image sets: the members are not those of the sets in their order, as each set_id names them")
    if pc.count_distinct(sets["set_id"]).as_py() != sets.num_rows:
        raise BadInput("image sets: a set_id comes twice")


def _offsets(lists: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _parquet(table: pa.Table, bounds: list[int]) -> bytes:
    """`table` as a Parquet file whose row groups end at `bounds`."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, version="2.6", data_page_version="1.0", compression="zstd") as writer:
        for first, last in pairwise(bounds):
            if last > first:
                writer.write_table(table.slice(first, last - first), row_group_size=last - first)
    return buffer.getvalue()
