"""Measures how many shards a query must visit, where rows are grouped by meaning, and chooses the cheapest way.

Which shards hold the best rows of the sampled queries is known from the exact scan, so the recall that visits to these
shards allow is a curve over the margin (`index.graph.visits`) that takes no searches. A wider margin visits more
shards, which may then be searched with a smaller efSearch. So some margins that allow the recall asked for are tried,
each with the least efSearch that reaches it, and the pair with the least work is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.graph.margins import Margins
from index.graph.recall_contract import VisitContract, VisitPoint
from index.graph.unwanted import in_sorted
from index.graph.visits import Visits

__all__ = ["choose_visits"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Shares of the best rows that the curve shows margins for, and that are tried as limits of the recall.
_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
# Shares of the shards that the curve shows too.
_SHARES = (0.6, 0.8, 0.9, 1.0)
# A walk takes as long as so many of its candidates, before the first of them: 80 us and 4.2 us each (100,000 x 512).
_WALK = 19


@dataclass(frozen=True)
class _Gaps:
    """Of n queries: by how much the shard of each of its best rows [n, r], and each shard [n, shards], is worse than
    the best shard; -1 stands for a row that does not count."""

    rows: Ids
    shards: Ids

    def margin(self, level: float, k: int) -> int:
        """The least margin that allows a recall@k of `level`."""
        counted = np.sort(self.rows[:, :k][self.rows[:, :k] >= 0])
        return int(counted[max(int(np.ceil(level * len(counted))) - 1, 0)]) if len(counted) else 0

    def margins(self, shares: tuple[float, ...]) -> list[int]:
        """The least margins with which so large shares of the shards are visited."""
        ordered = np.sort(self.shards, axis=None)
        return [int(ordered[max(int(np.ceil(share * len(ordered))) - 1, 0)]) for share in shares]

    def recall(self, margin: int, k: int) -> float:
        """The recall@k that this margin allows."""
        counted = self.rows[:, :k] >= 0
        found = counted & (self.rows[:, :k] <= margin)
        return float(found.sum() / counted.sum()) if counted.any() else 1.0

    def visited(self, margin: int) -> float:
        """Shards that a query visits on average."""
        return float((self.shards <= margin).sum(axis=1).mean())


def choose_visits(
    visits: Visits,
    queries: Floats,
    truth_ids: Ids,
    recall: float,
    efs: tuple[int, ...],
    recall_with: Callable[[int], float],
) -> VisitContract:
    """The margins with which searches reach `recall`, at the least work; all shards where nothing less does.

    Args:
        visits: of an index with all shards open; it is left with the margins that were chosen.
        truth_ids: rows [q, >= 100, or all] of the exact answers, the best first; -1 where there are fewer.
        efs: values of efSearch, ascending.
        recall_with: recall@10 of the index with an efSearch, and with the margins that `visits` has then.
    """
    gaps = _gaps(visits, queries, truth_ids)
    curve = dict.fromkeys(gaps.margins(_SHARES), 1.0) | {gaps.margin(level, 10): level for level in _LEVELS}
    points = tuple(
        VisitPoint(
            margin,
            round(gaps.visited(margin) / visits.shards, 6),
            round(gaps.recall(margin, 10), 6),
            round(gaps.recall(margin, 100), 6),
        )
        for margin in sorted(curve)
    )
    best: tuple[float, Margins | None, float] = (np.inf, None, 1.0)
    tried = [point for point in points if point.recall_at_10 >= recall]
    try:
        for point in (*tried, None):
            margins = None
            if point is not None:
                margins = Margins(point.margin, max(gaps.margin(curve[point.margin], 100), point.margin))
            share = 1.0 if point is None else point.share
            visits.margins = margins
            for ef in efs:
                work = share * (_WALK + ef)
                if work >= best[0]:
                    break
                if recall_with(ef) >= recall:
                    best = (work, margins, share)
                    break
    finally:
        visits.margins = best[1]
    return VisitContract(best[1], best[2], points)


def _gaps(visits: Visits, queries: Floats, truth_ids: Ids) -> _Gaps:
    scores = visits.scores(queries)
    best = scores.max(axis=1, keepdims=True)
    holder = np.full(truth_ids.shape, -1, np.int64)
    for number, (listed, _) in enumerate(visits.lists):
        holder[in_sorted(truth_ids, listed)] = number
    rows = best - np.take_along_axis(scores, np.maximum(holder, 0), axis=1)
    return _Gaps(np.where(holder < 0, -1, rows), best - scores)
