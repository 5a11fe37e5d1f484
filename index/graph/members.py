"""The crowds of a shard: nodes that stand for many nearly equal rows, whose scores are read from the store.

A crowd is one node among many, which a walk may miss. So a search compares each query with the leaders of all crowds;
where a leader is as near as what the walk found, the query is compared with all members of its crowd, so that each has
its own exact score. The members are read once for all queries of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.copies import Copies
from index.graph.rerank import SPARE, rank_by_store
from index.graph.unwanted import Unwanted, in_sorted
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Crowds"]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

# Scores of queries and leaders, and of queries and members, at once: 16 MB.
_PAIRS = 4_000_000
# Members that are read at once, unless one crowd alone has more.
_READ_ROWS = 1_024
# fp32 sums of 512 products of unit vectors were off by 2e-7 at most.
_ROUNDING = 2e-6


class Crowds:
    """The row at members[i] has no node and is nearly equal to the row at leaders[i], which has one.

    leaders: int64 [m], ascending; members: int64 [m]; both are positions in a shard that begins at row `first_row`.
    vectors: gives the vectors fp32 [n, d] of n leaders.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        modality: Modality,
        first_row: int,
        leaders: Ids,
        members: Ids,
        vectors: Callable[[Ids], Floats],
    ) -> None:
        self._store, self._modality, self._first_row, self._vectors = store, modality, first_row, vectors
        self.members = members
        self.nodes, starts, counts = np.unique(leaders, return_index=True, return_counts=True)
        # Of crowd c, rows ends[c] .. ends[c + 1] - 1 of `_rows`: the leader, then the others.
        self._rows = np.insert(members, starts, self.nodes)
        self._ends = np.concatenate([[0], np.cumsum(counts + 1)])

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def _ordered(self) -> Ids:
        return np.sort(self.members)

    @cached_property
    def _leaders(self) -> Floats:
        return self._vectors(self.nodes)

    def has(self, positions: Ids) -> Bools:
        """Which of the positions are members, leaders not included."""
        return in_sorted(positions, self._ordered)

    def join(
        self, queries: Floats, scores: Floats, positions: Ids, k: int, copies: Copies, unwanted: Unwanted | None
    ) -> tuple[Floats, Ids]:
        """Add the best rows of the crowds to the results [q, n] of a walk: [q, n + k], scores descending.

        A query gets its k best rows of the crowds that it reaches, without those that stand for unwanted rows only.
        """
        step = max(1, _PAIRS // len(self))
        found = [
            self._join(queries[some], scores[some], positions[some], k, copies, unwanted)
            for some in (slice(start, start + step) for start in range(0, len(queries), step))
        ]
        return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])

    def _join(
        self, queries: Floats, scores: Floats, positions: Ids, k: int, copies: Copies, unwanted: Unwanted | None
    ) -> tuple[Floats, Ids]:
        reached = self._reached(queries, scores, k)
        if not reached.any():
            return _padded(scores, k, -np.inf), _padded(positions, k, -1)
        # The leaders come again as rows of their crowds.
        own = np.minimum(np.searchsorted(self.nodes, positions), len(self) - 1)
        again = (self.nodes[own] == positions) & np.take_along_axis(reached, own, axis=1)
        scores, positions = np.where(again, np.float32(-np.inf), scores), np.where(again, -1, positions)
        kept = scores if unwanted is None else np.where(copies.sizes(positions, unwanted) > 0, scores, -np.inf)
        least = np.partition(kept, kept.shape[1] - k, axis=1)[:, kept.shape[1] - k] if kept.shape[1] >= k else None
        query, rows = self._best(queries, reached, least, k + SPARE, copies, unwanted)
        asked, start, count = np.unique(query, return_index=True, return_counts=True)
        candidates = np.full((len(asked), max(int(count.max(initial=0)), k)), -1, np.int64)
        candidates[np.repeat(np.arange(len(asked)), count), np.arange(len(query)) - np.repeat(start, count)] = rows
        more_scores, more = _padded(scores[:, :0], k, -np.inf), _padded(positions[:, :0], k, -1)
        more_scores[asked], found = rank_by_store(self._store, self._modality, queries[asked], candidates, k)
        more[asked] = np.where(found < 0, -1, found - self._first_row)
        scores, positions = np.concatenate([scores, more_scores], axis=1), np.concatenate([positions, more], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)

    def _reached(self, queries: Floats, scores: Floats, k: int) -> Bools:
        """bool [q, crowds]: leaders at least as near as the last of the walk's candidates, at most so many of them."""
        near = queries @ self._leaders.T
        reached: Bools = near >= scores[:, -1:] - np.float32(_ROUNDING)
        most = max(k + SPARE, scores.shape[1] // 4)
        if len(self) > most:
            reached &= near >= np.partition(near, len(self) - most, axis=1)[:, len(self) - most, None]
        return reached

    def _best(
        self,
        queries: Floats,
        reached: Bools,
        least: Floats | None,
        count: int,
        copies: Copies,
        unwanted: Unwanted | None,
    ) -> tuple[Ids, Ids]:
        """(query number, row id) of the `count` rows of crowds with the best fp32 scores; queries ascending.

        least: scores [q] below which no row counts.
        """
        found: list[tuple[Ids, Ids, Floats]] = []
        for crowds in self._runs(np.flatnonzero(reached.any(axis=0))):
            sizes = self._ends[crowds + 1] - self._ends[crowds]
            of_crowd = np.repeat(np.arange(len(crowds)), sizes)
            within = np.arange(len(of_crowd)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            positions = self._rows[self._ends[crowds][of_crowd] + within]
            if unwanted is not None:
                wanted = copies.sizes(positions, unwanted) > 0
                positions, of_crowd = positions[wanted], of_crowd[wanted]
            rows = positions + self._first_row
            vectors = self._store.gather(self._modality, rows).astype(np.float32).T
            asked = np.flatnonzero(reached[:, crowds].any(axis=1))
            step = max(1, _PAIRS // max(len(rows), 1))
            for some in (asked[start : start + step] for start in range(0, len(asked), step)):
                near = queries[some] @ vectors
                if len(crowds) > 1:
                    near[~reached[some[:, None], crowds[of_crowd]]] = -np.inf
                bar = np.full(len(some), -np.inf, np.float32) if least is None else least[some] - np.float32(_ROUNDING)
                if len(rows) > count:
                    bar = np.maximum(bar, np.partition(near, len(rows) - count, axis=1)[:, len(rows) - count])
                line, column = np.nonzero((near >= bar[:, None]) & ~np.isneginf(near))
                found.append((some[line], rows[column], near[line, column]))
        query, row, near = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((row, -near, query))
        query, row = query[order], row[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        return query[rank < count], row[rank < count]

    def _runs(self, crowds: Ids) -> Iterator[Ids]:
        """Crowds that are read together."""
        total = np.cumsum(self._ends[crowds + 1] - self._ends[crowds])
        start = 0
        while start < len(crowds):
            before = total[start - 1] if start else 0
            stop = max(int(np.searchsorted(total, before + _READ_ROWS, side="right")), start + 1)
            yield crowds[start:stop]
            start = stop


def _padded(values: npt.NDArray[Any], count: int, filler: float) -> npt.NDArray[Any]:
    return np.pad(values, ((0, 0), (0, count)), constant_values=filler)
