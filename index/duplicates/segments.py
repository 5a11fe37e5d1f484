"""The near-duplicates job: an item searches one segment of rows; then the groups of all rows are written as a column.

    config = DuplicatesConfig("STORE")
    for item in undone_segments(config):
        search_segment(item, config)
    finish_groups(config)

Two images share a group if their cosine is at least the limit, or if a chain of such pairs leads from one to the other.
A row's number in the column is the first row of its group. In a store that has grown only the new rows are searched,
among all. Forgetting and compaction change nothing: groups never fall apart, so that two images of a group may be
joined by one that is forgotten now. Readers that compare images compare those of a group again
(`index.duplicates.stored_groups`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.duplicates.components import spanning_edges
from index.duplicates.groups_manifest import (
    GroupsManifest,
    Segment,
    groups_folder,
    read_groups_manifest,
    remove_other_files,
    segment_name,
    write_groups_manifest,
)
from index.duplicates.near_duplicates import NEAR_DUPLICATES
from index.duplicates.row_pairs import ALL_PAIRS, edges_of_rows
from index.errors import BadInput, StoreInvalid
from index.files import atomic_file, hash_json, make_folder, remove_partial, sha256_file
from index.graph.index_manifest import ShardFile, index_folder, read_index_manifest
from index.graph.shard_files import damage, shard_file
from index.local_copy import current_copy
from index.npy_stream import start_npy
from index.store.embedding_store import EmbeddingStore

__all__ = [
    "DuplicatesConfig",
    "DuplicatesSummary",
    "SegmentSummary",
    "finish_groups",
    "search_segment",
    "undone_segments",
]

Ints = npt.NDArray[np.int64]

# Rows of a segment: a 64th of the rows to search, so that there is work for many workers, within these limits. A
# segment opens each shard of the index once, and is what a killed worker loses.
_SEGMENTS, _LEAST_ROWS, _MOST_ROWS = 64, 16_384, 4_000_000
_BLOCK_ROWS = 1_000_000


@dataclass(frozen=True)
class DuplicatesConfig:
    """The store, and the cosine from which two images are near-duplicates: above 0, at most 1.

    None: as the store's groups have it, else NEAR_DUPLICATES.
    """

    store: str
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise BadInput(f"--threshold is a cosine above 0 and up to 1, not {self.threshold:g}")


@dataclass(frozen=True)
class SegmentItem:
    """Rows first_row .. first_row + rows - 1 to search among the rows below `until`."""

    first_row: int
    rows: int
    until: int
    threshold: float
    name: str


@dataclass(frozen=True)
class SegmentSummary:
    """A searched segment: its rows, and the rows that it joins to another row."""

    rows: int
    joined: int


@dataclass(frozen=True)
class DuplicatesSummary:
    """A finished column: rows = grouped + alone + not_indexed. searched: rows that were not in the column before.

    alone: rows without a near-duplicate, those that are forgotten or have no direction included. not_indexed: rows that
    the image index does not have yet.
    """

    store: str
    threshold: float
    rows: int
    grouped: int
    alone: int
    not_indexed: int
    groups: int
    largest: int
    searched: int


def undone_segments(config: DuplicatesConfig) -> list[SegmentItem]:
    """The segments that are not searched yet.

    Raises:
        BadInput: a store of more than ALL_PAIRS rows without an image index.
        StoreInvalid: no complete store, or one without rows.
    """
    plan = _Plan.make(config)
    return [item for item in plan.items if not _is_searched(plan.store, item)]


def search_segment(item: SegmentItem, config: DuplicatesConfig) -> SegmentSummary:
    """Search one segment and write what was found."""
    store = EmbeddingStore.open(config.store)
    edges = edges_of_rows(store, item.first_row, item.first_row + item.rows, item.until, item.threshold)
    target = _edges_file(store, item.name)
    make_folder(target.parent)
    with atomic_file(target) as partial, open(partial, "wb") as stream:
        np.save(stream, edges, allow_pickle=False)
    return SegmentSummary(item.rows, len(edges))


def finish_groups(config: DuplicatesConfig) -> DuplicatesSummary:
    """Join what all segments found, write the column, then groups.json, and remove files of earlier columns.

    Memory: some 100 bytes for each row in a group.

    Raises:
        StoreInvalid: a segment was not searched, or a file of one is damaged.
    """
    plan = _Plan.make(config)
    store, folder = plan.store, groups_folder(plan.store)
    segments = list(plan.kept)
    for item in plan.items:
        if not _is_searched(store, item):
            raise StoreInvalid(f"{folder}: {item.name} was not searched; run the same `clipmine duplicates` again")
        file = current_copy(_edges_file(store, item.name))
        segments.append(Segment(item.first_row, item.rows, item.until, _record(file, f"{item.name}.edges.npy")))
    rows = segments[-1].until
    if plan.items or plan.earlier is None:
        edges = spanning_edges(np.concatenate([np.empty((0, 2), np.int64), *_read_edges(folder, segments)]))
        groups, sizes = np.unique(edges[:, 1], return_counts=True)
        name = f"{hash_json([segment.edges.name for segment in segments])[:16]}.groups.npy"
        manifest = GroupsManifest(
            threshold=plan.threshold,
            rows=rows,
            segments=tuple(segments),
            column=_write_column(folder, name, rows, edges),
            grouped=len(edges) + len(groups),
            groups=len(groups),
            largest=int(sizes.max(initial=0)) + 1,
        )
        write_groups_manifest(store, manifest)
    else:
        manifest = plan.earlier
    remove_other_files(store, [manifest.column.name, *(segment.edges.name for segment in segments)])
    remove_partial(folder)
    return DuplicatesSummary(
        store=str(store.path),
        threshold=manifest.threshold,
        rows=store.rows,
        grouped=manifest.grouped,
        alone=manifest.rows - manifest.grouped,
        not_indexed=store.rows - manifest.rows,
        groups=manifest.groups,
        largest=manifest.largest,
        searched=sum(item.rows for item in plan.items),
    )


@dataclass(frozen=True)
class _Plan:
    """earlier: the store's groups, if they are of use. kept: their segments. items: the segments of further rows."""

    store: EmbeddingStore
    threshold: float
    earlier: GroupsManifest | None
    kept: tuple[Segment, ...]
    items: list[SegmentItem]

    @classmethod
    def make(cls, config: DuplicatesConfig) -> _Plan:
        store = EmbeddingStore.open(config.store)
        if not store.rows:
            raise StoreInvalid(f"{store.path}: has no rows")
        earlier = read_groups_manifest(store)
        threshold = config.threshold
        if threshold is None:
            threshold = earlier.threshold if earlier is not None else NEAR_DUPLICATES
        if earlier is not None and (earlier.threshold != threshold or not _is_whole(earlier, store)):
            earlier = None
        first, until = earlier.rows if earlier is not None else 0, _rows_to_group(store)
        size = min(max(-(-(until - first) // _SEGMENTS), _LEAST_ROWS), _MOST_ROWS)
        items = [
            SegmentItem(start, rows, until, threshold, segment_name(store, threshold, start, rows, until))
            for start in range(first, until, size)
            for rows in (min(size, until - start),)
        ]
        return cls(store, threshold, earlier, earlier.segments if earlier is not None else (), items)


def _is_whole(manifest: GroupsManifest, store: EmbeddingStore) -> bool:
    files = [manifest.column, *(segment.edges for segment in manifest.segments)]
    whole = all(damage(groups_folder(store), file, checksums=False) is None for file in files)
    return whole and manifest.is_of(store)


def _rows_to_group(store: EmbeddingStore) -> int:
    """Rows that can be searched now: those of the image index, or all rows of a small store."""
    if store.rows <= ALL_PAIRS:
        return store.rows
    index = read_index_manifest(index_folder(store, "image"))
    if index is None:
        raise BadInput(
            f"{store.path}: has {store.rows:,} rows and no image index to find near-duplicates with; run `clipmine "
            f"index {store.path} --modality image` first"
        )
    return index.rows


def _is_searched(store: EmbeddingStore, item: SegmentItem) -> bool:
    """Whether the segment's file is there, and a whole one by its head and its length."""
    try:
        edges = np.load(current_copy(_edges_file(store, item.name)), mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):  # not there, cut off, or another file
        return False
    return bool(edges.dtype == np.int64 and edges.ndim == 2 and edges.shape[1] == 2)


def _edges_file(store: EmbeddingStore, name: str) -> Path:
    return groups_folder(store) / f"{name}.edges.npy"


def _record(file: Path, name: str) -> ShardFile:
    return ShardFile(name, file.stat().st_size, sha256_file(file))


def _read_edges(folder: Path, segments: list[Segment]) -> Iterator[Ints]:
    for segment in segments:
        file = folder / segment.edges.name
        try:
            edges: Ints = np.load(shard_file(folder, segment.edges), allow_pickle=False)
        except (ValueError, OSError, EOFError, StoreInvalid) as error:
            raise StoreInvalid(f"{file}: is damaged; delete it and run `clipmine duplicates` again") from error
        yield edges


def _write_column(folder: Path, name: str, rows: int, edges: Ints) -> ShardFile:
    """Write int64 [rows]: the second row of `edges` for each first one, and itself for each other row."""
    make_folder(folder)
    with atomic_file(folder / name) as partial:
        with open(partial, "wb") as stream:
            start_npy(stream, np.int64, (rows,))
            for start in range(0, rows, _BLOCK_ROWS):
                column = np.arange(start, min(start + _BLOCK_ROWS, rows), dtype=np.int64)
                low, high = np.searchsorted(edges[:, 0], [start, start + len(column)])
                column[edges[low:high, 0] - start] = edges[low:high, 1]
                stream.write(column.data)
        return _record(partial, name)
