"""Searching a store's index: all its HNSW shards, memory-mapped, as one.

    index = open_index(EmbeddingStore.open("STORE"), "image")
    scores, row_ids = index.search(queries, k=10)

efSearch comes from the index's recall contract. Forgotten rows are never returned. Rows that were added to the store
after the index was built are found by an exact scan. Searches change no shared state, so threads may search at the same
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.files import file_identity
from index.graph.hnsw import HnswSpec
from index.graph.index_manifest import (
    IndexManifest,
    ShardRecord,
    index_folder,
    manifest_path,
    read_index_manifest,
    source_hash,
)
from index.graph.layout import Layout
from index.graph.recall_contract import RecallContract
from index.graph.shard import Shard, drop_own_row, open_shard
from index.graph.shard_files import check_files
from index.graph.shards import Shards
from index.graph.tail import Tail
from index.graph.visits import open_visits
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["HnswIndex", "has_index", "open_index"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


class HnswIndex:
    """The shards of one modality's index, open for searching; `open_index` makes it."""

    def __init__(
        self,
        store: EmbeddingStore,
        modality: Modality,
        spec: HnswSpec,
        records: Sequence[ShardRecord],
        recall: RecallContract | None = None,
        *,
        layout: Layout | None = None,
        tail_from: int | None = None,
        identity: tuple[int, int, int] | None = None,
    ) -> None:
        folder = index_folder(store, modality)
        self.store, self.modality, self.spec, self.recall = store, modality, spec, recall
        opened = [open_shard(folder, record, store, modality) for record in records if record.indexed]
        visited = recall.visits if recall is not None else None
        margins = visited.margins if visited is not None else None
        self.visits = open_visits(folder, layout, margins) if layout is not None else None
        self._shards = Shards(store, modality, spec.codec, opened, self.visits)
        self._tail = Tail(store, modality, tail_from) if tail_from is not None and tail_from < store.rows else None
        self._identity = identity

    @property
    def graphs(self) -> tuple[Any, ...]:
        """The faiss indexes of the shards, for direct calls of faiss; do not change them."""
        return tuple(shard.graph for shard in self._shards.shards)

    @property
    def opened(self) -> tuple[Shard, ...]:
        """The open shards, in the order of their rows."""
        return self._shards.shards

    @property
    def shards(self) -> int:
        """Number of open shards; every query searches all of them, unless rows are grouped by meaning (`visits`)."""
        return len(self._shards.shards)

    @property
    def tail_rows(self) -> int:
        """Rows that were added to the store after the index was built, which every search compares one by one."""
        return len(self._tail) if self._tail is not None else 0

    def stale(self) -> bool:
        """Whether the index was built again, or the store has changed, since this index was opened.

        Two system calls, so that a service may ask often. An index that is stale still answers, over the rows it had.
        """
        return (
            file_identity(manifest_path(index_folder(self.store, self.modality))) != self._identity
            or self.store.changed()
        )

    @property
    def ef_search(self) -> int:
        """The recall contract's efSearch; 128 for an index without a contract."""
        return self.recall.ef_search if self.recall else 128

    def search(
        self,
        queries: npt.NDArray[np.floating[Any]],
        k: int,
        ef_search: int | None = None,
        *,
        exclude: RowIds | None = None,
    ) -> tuple[Floats, RowIds]:
        """The k rows with the largest inner products with each query, as far as the graphs find them.

        Args:
            queries: [q, d] unit rows, any float dtype.
            k: number of rows for each query.
            ef_search: candidates kept while walking a graph; by default the recall contract's; never below k.
            exclude: row ids that are not returned, in addition to the forgotten ones.

        Returns:
            scores float32 [q, k] in descending order, row ids int64 [q, k]; -inf and -1 where fewer were found.

        Raises:
            BadInput: k or efSearch below 1, or queries of another dimension.
        """
        if k < 1 or (ef_search is not None and ef_search < 1):
            raise BadInput(f"k is {k} and efSearch {ef_search}: both must be at least 1")
        wide = np.ascontiguousarray(queries, np.float32)
        if wide.ndim != 2 or wide.shape[1] != self.store.dim:
            raise BadInput(f"queries have shape {wide.shape}, the index needs [q, {self.store.dim}]")
        return self.search_unchecked(wide, k, ef_search or self.ef_search, exclude)

    def search_unchecked(
        self, wide: Floats, k: int, ef_search: int, exclude: RowIds | None = None
    ) -> tuple[Floats, RowIds]:
        """As `search`, without its checks: queries must be contiguous fp32 of the index's dimension, k at least 1."""
        found = self._shards.search(wide, k, ef_search, exclude)
        return found if self._tail is None else self._tail.add(wide, found, k, exclude)

    def find(self, wide: Floats, k: int, ef_search: int) -> tuple[Floats, RowIds]:
        """What the opened shards find, neither ranked by the store nor joined with the rows that are not indexed yet.

        For searches that are shared out over shards: the best of all their results go to `rank`. Shapes as of
        `search_unchecked`, with as many rows a query as `rank` needs.
        """
        return self._shards.find(wide, k, ef_search)

    def rank(self, wide: Floats, scores: Floats, rows: RowIds, k: int) -> tuple[Floats, RowIds]:
        """The k best, [q, k], of the best rows that `find` gave for all shards, [q, n]."""
        return self._shards.rank(wide, scores, rows, k)

    def search_rows(self, rows: RowIds, k: int, ef_search: int | None = None) -> tuple[Floats, RowIds]:
        """The k other rows nearest to each of `rows` [q] by their stored vectors; shapes and errors as of `search`.

        Each walk starts at the row's own node instead of descending to it, except in a store with rows that are
        forgotten or not indexed yet, and with SQ8. Measured on 200,000 x 512 at efSearch 11: 557 comparisons for a row
        instead of about 730. Such a walk may have an efSearch below k: most of the nearest rows are among the node's
        own links.
        """
        queries = self.store.gather(self.modality, rows).astype(np.float32)
        if self._tail is not None:
            return drop_own_row(*self.search_unchecked(queries, k + 1, ef_search or self.ef_search), rows)
        return self._shards.search_rows(queries, rows, k, ef_search or self.ef_search)


def has_index(store: EmbeddingStore, modality: Modality) -> bool:
    """Whether the store has an index of `modality`; `open_index` checks whether it is valid."""
    return read_index_manifest(index_folder(store, modality)) is not None


def open_index(
    store: EmbeddingStore, modality: Modality, shards: Sequence[int] | None = None, *, checksums: bool | None = None
) -> HnswIndex:
    """Memory-map the store's index of `modality`.

    Args:
        shards: numbers of the shards to open, all by default. Only rows of these are found, with their row ids in the
            store. The files of other shards may be missing, except the lists of rows that are grouped by meaning. The
            rows that were added to the store after the index was built are found with the last shard.
        checksums: whether to read the files and compare their checksums; by default if that is quick (see
            `index.graph.shard_files`).

    Raises:
        BadInput: the index has no shard of that number.
        StoreInvalid: there is no index, a file of it is missing or damaged, or the store's vectors were replaced; the
            message says which, and what to run.
    """
    path = manifest_path(index_folder(store, modality))
    while True:
        identity = file_identity(path)
        try:
            return _open(store, modality, shards, checksums, identity)
        except StoreInvalid:
            if file_identity(path) == identity:
                raise
            # A build has switched to other shards and removed these meanwhile.


def _open(
    store: EmbeddingStore,
    modality: Modality,
    shards: Sequence[int] | None,
    checksums: bool | None,
    identity: tuple[int, int, int] | None,
) -> HnswIndex:
    manifest = read_index_manifest(index_folder(store, modality))
    if manifest is None:
        raise StoreInvalid(f"{store.path}: has no {modality} index; run {_command(store, modality)}")
    _check_belongs(store, modality, manifest)
    count = len(manifest.shards)
    wanted = range(count) if shards is None else shards
    for number in wanted:
        if not 0 <= number < count:
            raise BadInput(f"{store.path}: its {modality} index has {count} shards, so no shard {number}")
    opened = [manifest.shards[number] for number in wanted]
    check_files(store, modality, opened, checksums, layout=manifest.layout)
    tail_from = manifest.rows if count - 1 in wanted else None
    return HnswIndex(
        store,
        modality,
        manifest.spec,
        opened,
        manifest.recall,
        layout=manifest.layout,
        tail_from=tail_from,
        identity=identity,
    )


def _check_belongs(store: EmbeddingStore, modality: Modality, manifest: IndexManifest) -> None:
    again = f"run {_command(store, modality)}"
    if dict(manifest.model) != dict(store.fingerprint) or manifest.dim != store.dim:
        raise StoreInvalid(f"{store.path}: its {modality} index was built with another model's vectors; {again}")
    if manifest.rows > store.rows:
        raise StoreInvalid(
            f"{store.path}: has shrunk from {manifest.rows:,} to {store.rows:,} rows since its {modality} index was "
            f"built; {again}"
        )
    for (first, rows), source in {(shard.source_rows, shard.source) for shard in manifest.shards}:
        if source_hash(store, modality, first, rows) != source:
            raise StoreInvalid(f"{store.path}: vectors were replaced after the {modality} index was built; {again}")


def _command(store: EmbeddingStore, modality: Modality) -> str:
    return f"`clipmine index {store.path} --modality {modality}`"
