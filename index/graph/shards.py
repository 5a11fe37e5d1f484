"""All shards of an index answer as one: each is searched, and the best rows of all are kept.

The results of indexes with rounded vectors are ranked again by the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from index.graph.codecs import is_rounded, least_candidates
from index.graph.filtered import search_filtered
from index.graph.rerank import rank_by_store
from index.graph.shard import Shard, drop_own_row
from index.graph.unwanted import Unwanted
from index.graph.visits import Visits
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Shards", "best_of"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


class Shards:
    """The open shards of one modality's index; searches change no shared state.

    visits: which shards a query visits; None: all.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        modality: Modality,
        codec: str,
        shards: Sequence[Shard],
        visits: Visits | None = None,
    ) -> None:
        import faiss

        self.shards, self.visits = tuple(shards), visits
        self._store, self._modality, self._codec = store, modality, codec
        self._forgotten: tuple[RowIds, list[Unwanted | None]] = (np.empty(0, np.int64), [None] * len(self.shards))
        self._threads = faiss.omp_get_max_threads()
        self._pool = ThreadPoolExecutor(min(len(self.shards), self._threads)) if len(self.shards) > 1 else None

    def search(self, wide: Floats, k: int, ef_search: int, exclude: RowIds | None = None) -> tuple[Floats, RowIds]:
        """The k nearest rows that are neither forgotten nor excluded; -inf and -1 where fewer were found.

        Args:
            wide: contiguous fp32 [q, d] of the index's dimension, not checked here.
            exclude: row ids that are not returned, in addition to the forgotten ones.
        """
        return self.rank(wide, *self.find(wide, k, ef_search, exclude), k)

    def find(self, wide: Floats, k: int, ef_search: int, exclude: RowIds | None = None) -> tuple[Floats, RowIds]:
        """As `search`, but scored by the graphs and with as many rows a query as `rank` needs, at least k.

        The best of what several groups of shards find, once ranked, equals what all shards together give.
        """
        width = max(ef_search, k)  # with a smaller efSearch, the last of k rows would be poor
        found = max(k, least_candidates(self._codec, width))
        unwanted = self._unwanted(exclude)
        if self.visits is None or self.visits.margins is None:
            return self._merge(wide, found, max(width, found), unwanted)
        return self._visit(wide, found, max(width, found), unwanted, self._visited(wide, k, exclude))

    def rank(self, wide: Floats, scores: Floats, rows: RowIds, k: int) -> tuple[Floats, RowIds]:
        """The k best of what `find` gave, [q, n] each; where graphs hold rounded vectors, by the store's vectors."""
        if is_rounded(self._codec):
            return rank_by_store(self._store, self._modality, wide, rows, k)
        return scores[:, :k], rows[:, :k]

    def search_rows(self, queries: Floats, rows: RowIds, k: int, ef_search: int) -> tuple[Floats, RowIds]:
        """The k other rows nearest to each of `rows` [q], whose vectors are `queries`."""
        plain = self.visits is None and not is_rounded(self._codec) and len(self.shards) > 0
        if not plain or any(each is not None for each in self._unwanted(None)):
            return drop_own_row(*self.search(queries, k + 1, ef_search), rows)
        found = [shard.search_own(queries, rows, k, ef_search) for shard in self.shards]
        return found[0] if len(found) == 1 else best_of(found, k)

    def _merge(self, queries: Floats, k: int, ef_search: int, unwanted: list[Unwanted | None]) -> tuple[Floats, RowIds]:
        """Search each shard and keep the k best of all."""
        if not self.shards:  # the opened shards have no rows that can be found
            return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)

        if self._pool is None:
            return self._search_one(self.shards[0], queries, k, ef_search, unwanted[0])
        # faiss divides a batch among threads, but not a single query; for few queries, shards are searched in parallel.
        mapped = self._pool.map if len(queries) < self._threads else map

        def one(shard: Shard, gone: Unwanted | None) -> tuple[Floats, RowIds]:
            return self._search_one(shard, queries, k, ef_search, gone)

        return best_of(list(mapped(one, self.shards, unwanted)), k)

    def _visit(
        self, queries: Floats, k: int, ef_search: int, unwanted: list[Unwanted | None], visited: npt.NDArray[np.bool_]
    ) -> tuple[Floats, RowIds]:
        """As `_merge`, but each shard is searched with the queries that visit it only, bool [q, shards]."""
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        asked = [
            (shard, gone, some)
            for shard, gone in zip(self.shards, unwanted, strict=True)
            if len(some := np.flatnonzero(visited[:, shard.number]))
        ]

        def one(each: tuple[Shard, Unwanted | None, RowIds]) -> tuple[Floats, RowIds]:
            shard, gone, some = each
            return self._search_one(shard, np.ascontiguousarray(queries[some]), k, ef_search, gone)

        at_once = self._pool is not None and len(queries) < self._threads
        found = self._pool.map(one, asked) if at_once and self._pool is not None else map(one, asked)
        for (_, _, some), own in zip(asked, found, strict=True):
            scores[some], rows[some] = best_of([(scores[some], rows[some]), own], k)
        return scores, rows

    def _search_one(
        self, shard: Shard, queries: Floats, k: int, ef_search: int, unwanted: Unwanted | None
    ) -> tuple[Floats, RowIds]:
        if unwanted is None:
            scores, rows = shard.search(queries, k, ef_search)
        else:
            source = shard.view or self._store
            scores, rows = search_filtered(shard, source, self._modality, queries, k, ef_search, unwanted)
        return scores, shard.to_store(rows)

    def _visited(self, queries: Floats, k: int, exclude: RowIds | None) -> npt.NDArray[np.bool_]:
        """The shards that each query visits: by all shards of the index, whichever are open."""
        assert self.visits is not None
        return self.visits.chosen(queries, k, self.visits.unwanted(self._store.forgotten, exclude))

    def _unwanted(self, exclude: RowIds | None) -> list[Unwanted | None]:
        """The unwanted rows of each shard. Those for forgotten rows only are kept until more are forgotten."""
        forgotten = self._store.forgotten
        listed, unwanted = self._forgotten
        if listed is not forgotten:  # the store gives the same array until it changes
            unwanted = [shard.unwanted(shard.from_store(forgotten)) for shard in self.shards]
            self._forgotten = (forgotten, unwanted)
        if exclude is None or not len(exclude):
            return unwanted
        rows = np.unique(exclude)
        return [
            _either(known, shard.unwanted(shard.from_store(rows)))
            for known, shard in zip(unwanted, self.shards, strict=True)
        ]


def _either(one: Unwanted | None, other: Unwanted | None) -> Unwanted | None:
    return one.plus(other) if one is not None and other is not None else one or other


def best_of(found: Sequence[tuple[Floats, RowIds]], k: int) -> tuple[Floats, RowIds]:
    """The k best of several results [q, n]; of equal scores, those of an earlier result come first."""
    scores = np.concatenate([scores for scores, _ in found], axis=1)
    rows = np.concatenate([rows for _, rows in found], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
