"""Searching a store's index: all its HNSW shards, memory-mapped, as one.

    index = open_index(EmbeddingStore.open("STORE"), "image")
    scores, row_ids = index.search(queries, k=10)

efSearch comes from the index's recall contract. Forgotten rows are never returned. Searches change no shared state, so
threads may search at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.graph.copies import Copies
from index.graph.hnsw import HnswSpec, open_graph
from index.graph.index_manifest import (
    IndexManifest,
    RecallContract,
    ShardRecord,
    index_folder,
    read_index_manifest,
    read_marker,
    source_hash,
)
from index.graph.shard import Keep, Shard, drop_own_row
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["HnswIndex", "has_index", "open_index"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

# The results of SQ8 graphs are re-ranked by the store's fp16 vectors, at least this many: at efSearch 64, measured
# recall@10 was .938 without, .946 with the top 50 re-ranked, and .945 for fp16 graphs.
RERANKED = 50


class HnswIndex:
    """The shards of one modality's index, open for searching; `open_index` makes it."""

    def __init__(
        self,
        store: EmbeddingStore,
        modality: Modality,
        spec: HnswSpec,
        records: Sequence[ShardRecord],
        recall: RecallContract | None = None,
    ) -> None:
        import faiss

        folder = index_folder(store, modality)
        self.store, self.modality, self.spec, self.recall = store, modality, spec, recall
        self._shards: list[Shard] = []
        for record in records:
            if not record.indexed:
                continue
            graph = open_graph(folder / record.file)
            skipped = np.load(folder / record.skipped_file, allow_pickle=False)
            shared = np.load(folder / record.copies_file, allow_pickle=False)
            counts = (graph.ntotal, graph.d, len(skipped), shared.shape)
            nodes = record.indexed - record.copies
            if counts != (nodes, store.dim, record.rows - nodes, (record.copies, 2)):
                raise StoreInvalid(f"{folder / record.file}: is not what index.json says; run `clipmine index` again")
            copies = Copies(shared[:, 0].copy(), shared[:, 1].copy(), np.empty(0, np.int64))
            self._shards.append(Shard(graph, record.first_row, record.rows, skipped, copies))
        self._forgotten: tuple[RowIds, list[Keep | None]] = (np.empty(0, np.int64), [None] * len(self._shards))
        self._threads = faiss.omp_get_max_threads()
        self._pool = ThreadPoolExecutor(min(len(self._shards), self._threads)) if len(self._shards) > 1 else None

    @property
    def graphs(self) -> tuple[Any, ...]:
        """The faiss indexes of the shards, for direct calls of faiss; do not change them."""
        return tuple(shard.graph for shard in self._shards)

    @property
    def shards(self) -> int:
        """Number of open shards; every query searches all of them."""
        return len(self._shards)

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
        width = max(ef_search, k)  # with a smaller efSearch, the last of k rows would be poor
        keeps = self._keeps(exclude)
        if self.spec.codec == "sq8":
            _, rows = self._merge(wide, max(k, RERANKED), max(width, RERANKED), keeps)
            return self._rank_again(wide, rows, k)
        return self._merge(wide, k, width, keeps)

    def search_rows(self, rows: RowIds, k: int, ef_search: int | None = None) -> tuple[Floats, RowIds]:
        """The k other rows nearest to each of `rows` [q] by their stored vectors; shapes and errors as of `search`.

        Each walk starts at the row's own node instead of descending to it, except in a store with forgotten rows and
        with SQ8. Measured on 200,000 x 512 at efSearch 11: 557 comparisons for a row instead of about 730. Such a walk
        may have an efSearch below k: most of the nearest rows are among the node's own links.
        """
        queries = self.store.gather(self.modality, rows).astype(np.float32)
        width = ef_search or self.ef_search
        if self.spec.codec == "sq8" or not self._shards or any(keep is not None for keep in self._keeps(None)):
            return drop_own_row(*self.search(queries, k + 1, width), rows)
        found = [shard.search_own(queries, rows, k, width) for shard in self._shards]
        return found[0] if len(found) == 1 else _best(found, k)

    def _merge(self, queries: Floats, k: int, ef_search: int, keeps: list[Keep | None]) -> tuple[Floats, RowIds]:
        """Search each shard and keep the k best of all."""
        if not self._shards:  # the opened shards have no rows that can be found
            return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        if self._pool is None:
            return self._shards[0].search(queries, k, ef_search, keeps[0])

        def one(shard: Shard, keep: Keep | None) -> tuple[Floats, RowIds]:
            return shard.search(queries, k, ef_search, keep)

        # faiss divides a batch among threads, but not a single query; for few queries, shards are searched in parallel.
        mapped = self._pool.map if len(queries) < self._threads else map
        found = list(mapped(one, self._shards, keeps))
        return _best(found, k)

    def _rank_again(self, queries: Floats, rows: RowIds, k: int) -> tuple[Floats, RowIds]:
        """The k best of the rows [q, n] by the store's own vectors.

        Summed in float64 and rounded once, so that a score does not depend on how many queries are asked at once.
        """
        scores = np.empty(rows.shape, np.float32)
        step = max(1, 65_536 // rows.shape[1])
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            vectors = self.store.gather(self.modality, np.maximum(some, 0).reshape(-1)).astype(np.float64)
            wide = queries[start : start + step, :, None].astype(np.float64)
            products = np.matmul(vectors.reshape(*some.shape, -1), wide)[:, :, 0]
            scores[start : start + step] = np.where(some < 0, -np.inf, products)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def _keeps(self, exclude: RowIds | None) -> list[Keep | None]:
        """A selector for each shard, None if all its rows may be returned. Those for forgotten rows only are cached."""
        forgotten = self.store.forgotten
        if exclude is not None and len(exclude):
            unwanted = np.union1d(forgotten, exclude)
            return [shard.keep(unwanted) for shard in self._shards]
        known, keeps = self._forgotten
        if known is not forgotten:  # the store gives the same array until it changes
            keeps = [shard.keep(forgotten) for shard in self._shards]
            self._forgotten = (forgotten, keeps)
        return keeps


def _best(found: Sequence[tuple[Floats, RowIds]], k: int) -> tuple[Floats, RowIds]:
    """The k best of the shards' results."""
    scores = np.concatenate([scores for scores, _ in found], axis=1)
    rows = np.concatenate([rows for _, rows in found], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)


def has_index(store: EmbeddingStore, modality: Modality) -> bool:
    """Whether the store has an index of `modality`; `open_index` checks whether it is valid."""
    return read_index_manifest(index_folder(store, modality)) is not None


def open_index(store: EmbeddingStore, modality: Modality, shards: Sequence[int] | None = None) -> HnswIndex:
    """Memory-map the store's index of `modality`.

    Args:
        shards: numbers of the shards to open, all by default. Only rows of these are found, with their row ids in the
            store. The files of other shards may be missing.

    Raises:
        BadInput: the index has no shard of that number.
        StoreInvalid: there is no index, a file of it is missing or has changed, or the store's rows have changed since;
            the message says which, and what to run.
    """
    folder = index_folder(store, modality)
    again = f"run `clipmine index {store.path} --modality {modality}`"
    manifest = read_index_manifest(folder)
    if manifest is None:
        raise StoreInvalid(f"{store.path}: has no {modality} index; {again}")
    _check_belongs(store, modality, manifest, again)
    wanted = range(len(manifest.shards)) if shards is None else shards
    for number in wanted:
        if not 0 <= number < len(manifest.shards):
            raise BadInput(
                f"{store.path}: its {modality} index has {len(manifest.shards)} shards, so no shard {number}"
            )
    opened = [manifest.shards[number] for number in wanted]
    for shard in opened:
        path = folder / shard.file
        for name in (shard.file, shard.skipped_file, shard.copies_file):
            if not (folder / name).exists():
                raise StoreInvalid(f"{folder / name}: is missing from the {modality} index; {again}")
        if path.stat().st_size != shard.size or read_marker(folder, shard.number) != shard:
            raise StoreInvalid(f"{path}: is not the shard that index.json lists (was a build interrupted?); {again}")
    return HnswIndex(store, modality, manifest.spec, opened, manifest.recall)


def _check_belongs(store: EmbeddingStore, modality: Modality, manifest: IndexManifest, again: str) -> None:
    if dict(manifest.model) != dict(store.fingerprint) or manifest.dim != store.dim:
        raise StoreInvalid(f"{store.path}: its {modality} index was built with another model's vectors; {again}")
    if manifest.rows != store.rows:
        change = "grown" if store.rows > manifest.rows else "shrunk"
        raise StoreInvalid(
            f"{store.path}: has {change} from {manifest.rows:,} to {store.rows:,} rows since its {modality} index was "
            f"built; {again} (full shards are kept)"
        )
    forgotten = store.forgotten
    for shard in manifest.shards:
        if source_hash(store, modality, shard.first_row, shard.rows) != shard.source:
            # Compaction zeroes forgotten rows in place; these are never returned, so the index stays valid.
            low, high = np.searchsorted(forgotten, [shard.first_row, shard.first_row + shard.rows])
            if low == high:
                raise StoreInvalid(f"{store.path}: vectors have changed since the {modality} index was built; {again}")
