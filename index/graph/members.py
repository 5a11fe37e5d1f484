"""The crowds of a shard: nodes that stand for many nearly equal rows, whose scores are read from the store.

A search that reaches such a node compares the query with all its members, so that each has its own exact score. The
work is proportional to the members of the crowds that the queries of a batch reach; each is read once for all of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from index.graph.copies import Copies
from index.graph.rerank import SPARE, rank_by_store
from index.graph.unwanted import Unwanted, in_sorted
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Crowds"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Crowds:
    """The row at members[i] has no node and is found at the node of the row at leaders[i], which is nearly equal.

    leaders: int64 [m], ascending; members: int64 [m]; both are positions in a shard that begins at row `first_row`.
    """

    def __init__(self, store: EmbeddingStore, modality: Modality, first_row: int, leaders: Ids, members: Ids) -> None:
        self._store, self._modality, self._first_row = store, modality, first_row
        self.leaders, self.members = leaders, members
        self.nodes = np.unique(leaders)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def _ordered(self) -> Ids:
        return np.sort(self.members)

    def has(self, positions: Ids) -> npt.NDArray[np.bool_]:
        """Which of the positions are members."""
        return in_sorted(positions, self._ordered)

    def join(
        self, queries: Floats, scores: Floats, positions: Ids, k: int, copies: Copies, unwanted: Unwanted | None
    ) -> tuple[Floats, Ids]:
        """Add to the results [q, n] the best members of the crowds among them; descending scores, [q, n or more].

        A query gets up to k members of each crowd, without those that stand for unwanted rows only.
        """
        here = in_sorted(positions, self.nodes)
        if not here.any():
            return scores, positions
        query, place = np.nonzero(here)
        leader = positions[query, place]
        order = np.argsort(leader, kind="stable")
        found_scores: list[list[Floats]] = [[] for _ in positions]
        found: list[list[Ids]] = [[] for _ in positions]
        for run in np.split(order, np.flatnonzero(np.diff(leader[order])) + 1):
            asked = query[run]
            low, high = np.searchsorted(self.leaders, [leader[run[0]], leader[run[0]] + 1])
            members = self.members[low:high]
            members = members[copies.sizes(members, unwanted) > 0]
            if not len(members):
                continue
            best_scores, best = self._best(queries[asked], members, k)
            for line, number in enumerate(asked):
                found_scores[number].append(best_scores[line])
                found[number].append(best[line])
        return _joined(scores, positions, found_scores, found)

    def _best(self, queries: Floats, members: Ids, k: int) -> tuple[Floats, Ids]:
        rows = members + self._first_row
        if len(rows) > k + SPARE:
            # In fp32 first; the best are then compared again in float64, so that no score depends on the batch.
            vectors = self._store.gather(self._modality, rows).astype(np.float32)
            rough = queries @ vectors.T
            chosen = np.argpartition(-rough, k + SPARE - 1, axis=1)[:, : k + SPARE]
            some = rows[np.sort(chosen, axis=1)]
        else:
            some = np.broadcast_to(rows, (len(queries), len(rows)))
        scores, best = rank_by_store(self._store, self._modality, queries, some, k)
        return scores, best - self._first_row


def _joined(
    scores: Floats, positions: Ids, more_scores: list[list[Floats]], more: list[list[Ids]]
) -> tuple[Floats, Ids]:
    width = max(sum(len(some) for some in line) for line in more)
    added_scores = np.full((len(positions), width), -np.inf, np.float32)
    added = np.full((len(positions), width), -1, np.int64)
    for number, line in enumerate(more):
        if line:
            whole = np.concatenate(line)
            added_scores[number, : len(whole)], added[number, : len(whole)] = np.concatenate(more_scores[number]), whole
    scores, positions = np.concatenate([scores, added_scores], axis=1), np.concatenate([positions, added], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)
