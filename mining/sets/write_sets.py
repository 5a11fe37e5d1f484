"""Write image sets in the format of `mining.sets.layouts`: part files first, the manifest last.

    write_image_sets("pairs", sets, members, [store_source(store, "pairs")], {"seed": 0})

The members of a store's rows come from `mining.sets.store_members`. The same sets give the same bytes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import join, write_atomic
from mining.sets.annotation import Annotation
from mining.sets.annotation_rows import json_object
from mining.sets.annotations import append_annotations, distinct_ids
from mining.sets.forgotten_rows import register_image_sets
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import FORMAT, GROUP_SETS, MEMBERS_SCHEMA, SETS_SCHEMA, VERSION
from mining.sets.same_image import own_names
from mining.sets.sources import Source

__all__ = ["PART_SETS", "ImageSetsWriter", "write_image_sets"]

PART_SETS = 200 * GROUP_SETS  # about 10 MB for pairs with captions


def write_image_sets(
    path: str | os.PathLike[str],
    sets: pa.Table,
    members: pa.Table,
    sources: Sequence[Source],
    manifest_fields: Mapping[str, Any],
) -> ImageSets:
    """Write all sets at once; ImageSetsWriter takes them piece by piece.

    sets: SETS_SCHEMA. members: MEMBERS_SCHEMA, in the order of the sets and of the positions within each. Nullable
    columns may be missing. sources: of the members. manifest_fields: JSON data. Raises BadInput when the members are
    not those of the sets.
    """
    writer = ImageSetsWriter(path)
    writer.add(sets, members)
    return writer.finish(sources, manifest_fields)


class ImageSetsWriter:
    """Takes sets with their members in pieces of any size and writes a part as soon as it is full."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._parts: list[dict[str, Any]] = []
        self._sets = SETS_SCHEMA.empty_table()
        self._members = MEMBERS_SCHEMA.empty_table()
        self._annotations: list[Annotation] = []
        self._annotation_parts = 0
        # Checked in `finish`, since no single piece shows whether an id comes twice or a source is unknown.
        self._set_ids: list[pa.Array] = []
        self._used_sources: set[str] = set()

    def add(self, sets: pa.Table, members: pa.Table, annotations: Sequence[Annotation] = ()) -> None:
        """Append sets and their annotations.

        Raises BadInput when the members are not those of the sets in their order, a member names no image, or an
        annotation is of another set or shows an image that its set does not have.
        """
        sets, members = _with_schema(sets, SETS_SCHEMA), _with_schema(members, MEMBERS_SCHEMA)
        _check_members(sets, members)
        _check_annotations(sets, annotations)
        self._set_ids.append(sets["set_id"].combine_chunks())
        self._used_sources.update(members["source"].unique().to_pylist())
        self._sets = pa.concat_tables([self._sets, sets])
        self._members = pa.concat_tables([self._members, members])
        while self._sets.num_rows >= PART_SETS:
            self._write_part(PART_SETS)
        self._annotations += distinct_ids(annotations)
        while len(self._annotations) >= PART_SETS:
            self._write_annotations(PART_SETS)

    def add_sets(self, sets: Sequence[ImageSet]) -> None:
        """Append sets with their annotations, as importers make them; a few thousand a call."""
        own = [
            {**each.__dict__, "size": each.size, "shared_nouns": list(each.shared_nouns), "reasons": list(each.reasons)}
            | {"extra": json_object(each.extra)}
            for each in sets
        ]
        members = [
            {**member.__dict__, "set_id": each.set_id, "extra": json_object(member.extra)}
            for each in sets
            for member in each.members
        ]
        said = [annotation for each in sets for annotation in each.annotations]
        self.add(pa.Table.from_pylist(own, SETS_SCHEMA), pa.Table.from_pylist(members, MEMBERS_SCHEMA), said)

    def finish(self, sources: Sequence[Source], manifest_fields: Mapping[str, Any]) -> ImageSets:
        """Write the last part and then the manifest; returns the sets, opened.

        Raises BadInput where a set id comes twice, or a member names a source that is not among `sources`.
        """
        self._check_whole({source.name for source in sources})
        if self._sets.num_rows or not self._parts:
            self._write_part(self._sets.num_rows)
        if self._annotations:
            self._write_annotations(len(self._annotations))
        counts = {name: sum(part[name] for part in self._parts) for name in ("rows", "members")}
        manifest = {
            **manifest_fields,
            "format": FORMAT,
            "version": VERSION,
            "sources": {source.name: source.to_json() for source in sorted(sources, key=lambda source: source.name)},
            "sets": counts["rows"],
            "members": counts["members"],
            "group_sets": GROUP_SETS,
            "parts": self._parts,
        }
        write_atomic(join(self.path, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
        register_image_sets(self.path, {source.name: source for source in sources})
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

    def _write_annotations(self, count: int) -> None:
        append_annotations(self.path, self._annotations[:count], f"written_{self._annotation_parts:04d}")
        self._annotations = self._annotations[count:]
        self._annotation_parts += 1

    def _check_whole(self, sources: set[str]) -> None:
        ids = pa.chunked_array(self._set_ids, pa.string())
        if pc.count_distinct(ids).as_py() != len(ids):
            counts = pc.value_counts(ids)
            twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
            raise BadInput(f"{self.path}: the set id {twice!r:.100} comes twice; every set of a folder has its own")
        if unknown := sorted(self._used_sources - sources):
            raise BadInput(f"{self.path}: members name the source {unknown[0]!r:.100}, which is not described")
        if bad := sorted(name for name in sources if not name or "/" in name):
            raise BadInput(f"{self.path}: the source {bad[0]!r:.100} has no usable name; a name has no '/'")


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def _check_members(sets: pa.Table, members: pa.Table) -> None:
    if sets["size"].null_count or sets["set_id"].null_count or sets["strategy"].null_count:
        raise BadInput("image sets: a set has no set_id, no strategy or no size")
    if members["source"].null_count:
        raise BadInput("image sets: a member has no source")
    sizes = sets["size"].to_numpy()
    if len(sizes) and sizes.min() < 0:
        raise BadInput("image sets: a set has fewer than no members")
    if sizes.sum() != members.num_rows:
        raise BadInput(f"image sets: {members.num_rows} members given, the sets' sizes add up to {int(sizes.sum())}")
    owners = np.repeat(np.arange(len(sizes)), sizes)
    positions = pa.array((np.arange(len(owners)) - (np.cumsum(sizes) - sizes)[owners]).astype(np.int32))
    belongs = pc.and_(
        pc.equal(members["set_id"], sets["set_id"].take(pa.array(owners))), pc.equal(members["position"], positions)
    )
    if not pc.all(pc.fill_null(belongs, False), min_count=0).as_py():
        raise BadInput("image sets: the members are not those of the sets in their order")
    nameless = np.flatnonzero(np.asarray(pc.equal(own_names(members), "")))
    if len(nameless):
        set_id = members["set_id"][int(nameless[0])].as_py()
        raise BadInput(
            f"image sets: a member of the set {set_id!r:.100} names no image; it needs a row_id, path, url, shard, key "
            "or sha256"
        )


def _check_annotations(sets: pa.Table, annotations: Sequence[Annotation]) -> None:
    if not annotations:
        return
    asked = pa.array([each.set_id for each in annotations], pa.string())
    places = pc.index_in(asked, value_set=sets["set_id"].combine_chunks())
    for each, place in zip(annotations, places.to_pylist(), strict=True):
        if place is None:
            raise BadInput(
                f"image sets: an annotation ({each.kind}) names the set {each.set_id!r:.100}, which is not among them"
            )
        each.check_images(sets["size"][place].as_py())


def _parquet(table: pa.Table, bounds: list[int]) -> bytes:
    """`table` as a Parquet file whose row groups end at `bounds`."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, version="2.6", data_page_version="1.0", compression="zstd") as writer:
        for first, last in pairwise(bounds):
            # Also a group without rows, where no set of a group has a member: row groups are found by their number.
            writer.write_table(table.slice(first, last - first), row_group_size=max(1, last - first))
    return buffer.getvalue()
