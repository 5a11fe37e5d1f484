"""The layout by meaning: which rows each shard holds, worked out before shards are built.

    layout = group_rows(store, "image", shard_rows, earlier, map_items)

    train    cells, from a sample of the rows (here)             -> 1c0d….centroids.npy
    assign   a run of rows: the cell of each                     -> 8a53….assigned.npy, until the layout is finished
    pack     cells into shards of equal size (here)              -> 77e0….table.npy
    list     a shard: its rows, and their cells                  -> 93ab….rows.npy, 5de8….cells.npy
    layout-0f6a….json, written last: the layout, until index.json has it

A layout is not made again when rows are forgotten: its shards leave them out. Rows that are new are grouped with the
same cells into shards of their own. A grouping that has become no larger than the rows after it is made again together
with them, so there are never more groupings than the logarithm of the rows, and once a store has doubled, new cells are
learned. Each step gives the same files on one machine, whatever the executor, and goes on where a killed run stopped.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.files import exists, hash_json, read_bytes, write_atomic
from index.graph.cells import CELL_RULES, GPU_BYTES, cell_count, cell_finder, on_grid, sample_count, train_cells
from index.graph.exact import best_device
from index.graph.hnsw import usable_rows
from index.graph.index_manifest import IndexManifest, index_folder, source_hash
from index.graph.layout import Grouping, Layout, RowList, ShardFile
from index.graph.packing import PACKING_RULES, pack_cells
from index.graph.shard_files import damage, shard_file
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["GroupWork", "MapItems", "assign_item", "group_rows", "list_item", "planned_layout"]

# map_items(function, items, work, label) -> results in the order of the items; each is one call function(item, work),
# possibly on another machine.
MapItems = Callable[[Callable[[Any, "GroupWork"], Any], Sequence[Any], "GroupWork", str], list[Any]]

# Rows whose cells are found by one item, and kept in one file of 2 MB.
_RUN_ROWS = 1_048_576
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class GroupWork:
    """What the workers know: rows first .. last - 1 of a store are grouped.

    key: hash of all that decides the layout.
    """

    store: str
    modality: Modality
    first: int
    last: int
    key: str
    centroids: ShardFile

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The first and last + 1 of each run of rows whose cells are in one file."""
        starts = range(self.first, self.last, _RUN_ROWS)
        return [(first, min(first + _RUN_ROWS, self.last)) for first in starts]

    def assigned(self, first: int) -> str:
        """Name of the file with the cells of the run that begins at row `first`.

        Cells are learned without the rows that are forgotten by then, so they may be others after a kill.
        """
        return f"{hash_json([self.key, self.centroids.sha256, first])[:16]}.assigned.npy"


@dataclass(frozen=True)
class AssignItem:
    """The run of rows that begins at row `first`."""

    first: int


@dataclass(frozen=True)
class ListItem:
    """A shard's number among those of its grouping, and the table of what each of them holds."""

    number: int
    table: ShardFile


@dataclass(frozen=True)
class _Wanted:
    """The groupings of the index in use that stay, and the rows to group after them."""

    kept: tuple[Grouping, ...]
    centroids: ShardFile | None  # None: to be learned
    first: int
    last: int
    shards: int
    key: str


def planned_layout(
    store: EmbeddingStore, modality: Modality, shard_rows: int, earlier: IndexManifest | None
) -> Layout | None:
    """The layout of all rows that the store has; None where `group_rows` has yet to make it."""
    wanted = _wanted(store, modality, shard_rows, earlier)
    if wanted.first == wanted.last and wanted.centroids is not None:
        return Layout(wanted.centroids, wanted.kept)
    return _read_pending(index_folder(store, modality), wanted.key)


def group_rows(
    store: EmbeddingStore, modality: Modality, shard_rows: int, earlier: IndexManifest | None, map_items: MapItems
) -> Layout:
    """Make the layout of all rows, or take what is there; shards have at most `shard_rows` rows.

    Raises:
        StoreInvalid: no vector of the rows has a direction.
    """
    wanted = _wanted(store, modality, shard_rows, earlier)
    layout = planned_layout(store, modality, shard_rows, earlier)
    if layout is not None:
        return layout
    folder = index_folder(store, modality)
    centroids = wanted.centroids or _train(store, modality, wanted)
    work = GroupWork(str(store.path), modality, wanted.first, wanted.last, wanted.key, centroids)
    waiting = [first for first, _ in work.runs if not exists(folder / work.assigned(first))]
    map_items(assign_item, [AssignItem(first) for first in waiting], work, "assign rows")
    cells = np.load(shard_file(folder, centroids), allow_pickle=False)
    counts = np.zeros(len(cells), np.int64)
    for first, last in work.runs:
        counts += np.bincount(_read_assigned(folder, work, first, last), minlength=len(cells))
    table = write_array(folder, "table", pack_cells(cells, counts, wanted.shards))
    lists = map_items(list_item, [ListItem(number, table) for number in range(wanted.shards)], work, "list rows")
    source = source_hash(store, modality, wanted.first, wanted.last - wanted.first)
    grouping = Grouping(wanted.first, wanted.last - wanted.first, source, table, tuple(lists))
    layout = Layout(centroids, (*wanted.kept, grouping))
    write_atomic(_pending_path(folder, wanted.key), json.dumps(asdict(layout), indent=1) + "\n")
    return layout


def assign_item(item: AssignItem, work: GroupWork) -> None:
    """Find the cells of a run of rows, and write them.

    Rows without a direction are dealt out, so that they do not fill one cell.
    """
    store = EmbeddingStore.open(work.store)
    folder = index_folder(store, work.modality)
    centroids = np.load(shard_file(folder, work.centroids), allow_pickle=False)
    first, last = item.first, min(item.first + _RUN_ROWS, work.last)
    found = np.empty(last - first, np.uint16)
    find = cell_finder(centroids, device=best_device(GPU_BYTES))
    store.copy_rows(work.modality, first, last)
    for row, vectors in store.blocks(work.modality, _BLOCK_ROWS, first, last):
        own = find(on_grid(vectors))
        without = ~usable_rows(np.asarray(vectors, np.float32))
        own[without] = (np.arange(row, row + len(own)) % len(centroids))[without]
        found[row - first : row - first + len(own)] = own
    write_atomic(folder / work.assigned(first), _bytes(found))


def list_item(item: ListItem, work: GroupWork) -> RowList:
    """Write the rows of one shard, ascending, and their cells."""
    folder = index_folder(EmbeddingStore.open(work.store), work.modality)
    table = np.load(shard_file(folder, item.table), allow_pickle=False)
    own = table[table[:, 0] == item.number]
    bounds = np.zeros((int(table[:, 1].max()) + 1, 2), np.int64)  # of each cell: first and last + 1 of its rows
    bounds[own[:, 1]] = own[:, 2:]
    seen = np.zeros(len(bounds), np.int64)
    rows, cells = [], []
    for first, last in work.runs:
        assigned = _read_assigned(folder, work, first, last)
        places = np.flatnonzero(bounds[assigned, 1] > 0)
        found = assigned[places].astype(np.int64)
        rank = seen[found] + _rank_within(found)
        seen += np.bincount(found, minlength=len(seen))
        taken = (rank >= bounds[found, 0]) & (rank < bounds[found, 1])
        rows.append(places[taken] + first)
        cells.append(assigned[places[taken]])
    ids = np.concatenate(rows)
    kind = np.uint32 if work.last <= 1 << 32 else np.int64
    return RowList(
        len(ids), write_array(folder, "rows", ids.astype(kind)), write_array(folder, "cells", np.concatenate(cells))
    )


def _rank_within(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many equal values come before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return rank


def _wanted(store: EmbeddingStore, modality: Modality, shard_rows: int, earlier: IndexManifest | None) -> _Wanted:
    folder, known = index_folder(store, modality), earlier.layout if earlier is not None else None
    kept: list[Grouping] = []
    if known is not None and earlier is not None and earlier.shard_rows == shard_rows and _whole(folder, known):
        for grouping in known.groupings:
            if source_hash(store, modality, grouping.first_row, grouping.rows) != grouping.source:
                break
            kept.append(grouping)
    for place, grouping in enumerate(kept):
        if grouping.rows <= store.rows - grouping.first_row - grouping.rows:
            del kept[place:]
            break
    first = sum(grouping.rows for grouping in kept)
    centroids = known.centroids if known is not None and kept else None
    shards = -(-(store.rows - first) // shard_rows)
    key = hash_json(
        [
            modality,
            *(CELL_RULES + PACKING_RULES),
            shard_rows,
            [asdict(grouping) for grouping in kept],
            centroids.sha256 if centroids is not None else None,
            first,
            source_hash(store, modality, first, store.rows - first),
            store.rows,
        ]
    )
    return _Wanted(tuple(kept), centroids, first, store.rows, shards, key)


def _train(store: EmbeddingStore, modality: Modality, wanted: _Wanted) -> ShardFile:
    """Learn the cells from rows that are evenly spread over the store."""
    cells = cell_count(wanted.last - wanted.first, wanted.shards)
    count = sample_count(wanted.last - wanted.first, cells)
    chosen = np.unique(np.linspace(wanted.first, wanted.last - 1, count).astype(np.int64))
    sample = store.gather(modality, chosen)
    sample = sample[usable_rows(np.asarray(sample, np.float32))]
    if not len(sample):
        raise StoreInvalid(f"{store.path}: no sampled {modality} vector has a direction, so rows cannot be grouped")
    return write_array(
        index_folder(store, modality), "centroids", train_cells(sample, cells, device=best_device(GPU_BYTES))
    )


def _whole(folder: Path, layout: Layout) -> bool:
    return all(damage(folder, file, checksums=False) is None for file in layout.all_files())


def _read_assigned(folder: Path, work: GroupWork, first: int, last: int) -> npt.NDArray[np.uint16]:
    path = folder / work.assigned(first)
    try:
        assigned = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except ValueError as error:
        raise StoreInvalid(f"{path}: is damaged; delete it and run the same `clipmine index` again") from error
    if assigned.dtype != np.uint16 or assigned.shape != (last - first,):
        raise StoreInvalid(f"{path}: is damaged; delete it and run the same `clipmine index` again")
    return np.asarray(assigned)


def _pending_path(folder: Path, key: str) -> Path:
    return folder / f"layout-{key[:16]}.json"


def _read_pending(folder: Path, key: str) -> Layout | None:
    """The layout that a run has finished for an index that is not finished; None where there is none, or a bad one."""
    try:
        layout = Layout.from_json(json.loads(read_bytes(_pending_path(folder, key))))
        if layout is not None:
            layout.check()
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return layout if layout is not None and _whole(folder, layout) else None


def write_array(folder: Path, kind: str, array: npt.NDArray[Any]) -> ShardFile:
    """Write an array into a file that is named by its content, unless it is there."""
    data = _bytes(array)
    digest = sha256(data).hexdigest()
    file = ShardFile(f"{digest[:16]}.{kind}.npy", len(data), digest)
    if damage(folder, file, checksums=False) is not None:
        write_atomic(folder / file.name, data)
    return file


def _bytes(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
