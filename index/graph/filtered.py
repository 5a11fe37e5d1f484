"""Search of one shard without its unwanted rows, at the recall of a search without a filter.

A walk in an HNSW graph keeps its nearest nodes so far, unwanted ones too: with a filter inside the walk, a forgotten
cluster fills the list and hides the rows behind it (measured: recall@10 .10 where 493 of 20,000 rows were forgotten,
.99 elsewhere). So the graph is searched without a filter and the unwanted rows are dropped from the list. If the k-th
row that is left has rank m in the whole list, the list must be long enough for rank m. Queries whose list is too short
are repeated with a longer one, and compared with all rows that are left once that is cheaper. The choice is made for
each query on its own, so its answer does not depend on the others of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from index.graph.exact import best_device, exact_top_k
from index.graph.hnsw import search_graph
from index.graph.rerank import SPARE, rank_by_store
from index.graph.shard import Shard
from index.graph.unwanted import Unwanted
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["first_beam", "search_filtered"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

# Candidates that each rank beyond k needs. Measured on 20,000 x 64: of the last ten of 200 ranks, .96, .98, .99 and
# .994 were found with 1, 1.3, 1.6 and 2.4 candidates for each rank; of 1,000 ranks, .85, .90, .94 and .98.
_REACH = 2.5
# A scan of so many rows takes as long as one more candidate of a walk. On 20,000 x 64, 256 candidates took 150 us,
# 2,048 took 2.8 ms, and a comparison with all rows 26 us (in a batch of 64) to 230 us (alone).
_ROWS_PER_CANDIDATE = 64
# faiss searches its list of candidates from end to end at every step: 8,192 candidates took 30 ms.
_LONGEST_LIST = 32_768
# Candidates of all queries at once: 24 MB of scores and node numbers.
_CANDIDATES = 2_000_000
_BLOCK_ROWS = 65_536


def search_filtered(
    shard: Shard,
    store: EmbeddingStore,
    modality: Modality,
    queries: Floats,
    k: int,
    ef_search: int,
    unwanted: Unwanted,
) -> tuple[Floats, RowIds]:
    """The k nearest rows of `shard` that are wanted: scores [q, k] descending, row ids [q, k]; else -inf and -1.

    Args:
        queries: contiguous fp32 [q, d].
        ef_search: the candidates that a search without a filter would need; at least k.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    kept = shard.indexed - len(unwanted.positions)
    if kept <= 0:
        return scores, rows
    first = first_beam(k, ef_search, len(unwanted.positions) / shard.indexed)
    beams = np.full(len(queries), first, np.int64)
    waiting = np.arange(len(queries))
    while len(waiting):
        again = []
        for beam in np.unique(beams[waiting]).tolist():
            some = waiting[beams[waiting] == beam]
            if beam > _LONGEST_LIST or (beam > 2 * ef_search and kept <= _ROWS_PER_CANDIDATE * beam):
                scores[some], rows[some] = _scan(shard, store, modality, queries[some], k, unwanted)
                continue
            step = max(1, _CANDIDATES // beam)
            for start in range(0, len(some), step):
                part = some[start : start + step]
                scores[part], rows[part], need = _walk(shard, queries[part], k, ef_search, beam, unwanted)
                short = need > beam
                doublings = np.ceil(np.log2(np.maximum(need[short] / first, 2 * beam / first)))
                beams[part[short]] = first * (1 << doublings.astype(np.int64))
                again.append(part[short])
        waiting = np.concatenate(again) if again else waiting[:0]
    return scores, rows


def first_beam(k: int, ef_search: int, share: float) -> int:
    """Candidates of the first try for k rows: enough if unwanted rows, `share` of all, lie anywhere."""
    left = max(1 - share, 1e-6)
    rank, deviation = k / left, math.sqrt(k * share) / left
    return min(ef_search + math.ceil(_REACH * (rank - k + 2 * deviation + 1)), _LONGEST_LIST + 1)


def _walk(
    shard: Shard, queries: Floats, k: int, ef_search: int, beam: int, unwanted: Unwanted
) -> tuple[Floats, RowIds, npt.NDArray[np.float64]]:
    """Scores, row ids, and how many candidates each query needs, as far as this walk tells."""
    scores, nodes = search_graph(shard.graph, np.ascontiguousarray(queries), beam, beam)
    positions = shard.positions(scores, nodes)
    joined = scores
    if len(shard.crowds):
        joined, positions = shard.crowds.join(queries, scores, positions, k, shard.copies, unwanted)
    best, found = shard.copies.expand(joined, positions, k, unwanted)
    rank = (scores >= best[:, -1:]).sum(axis=1)
    need = np.where(found[:, -1] < 0, 2.0 * beam, ef_search + np.ceil(_REACH * np.maximum(rank - k, 0)))
    return best, shard.row_ids(found), need


def _scan(
    shard: Shard, store: EmbeddingStore, modality: Modality, queries: Floats, k: int, unwanted: Unwanted
) -> tuple[Floats, RowIds]:
    """Compare the queries with every wanted row of the shard."""
    first, last = shard.first_row, shard.first_row + shard.rows
    gone = unwanted.positions + first
    if 2 * len(gone) < shard.rows:
        blocks = store.blocks(modality, _BLOCK_ROWS, first, last)
        _, rows = exact_top_k(blocks, queries, k + SPARE, excluded=gone, device=best_device())
    else:
        wanted = np.ones(shard.rows, np.bool_)
        wanted[unwanted.positions] = False
        left = np.flatnonzero(wanted) + first
        _, places = exact_top_k(_gathered(store, modality, left), queries, k + SPARE, device=best_device())
        rows = np.where(places < 0, -1, left[places])
    return rank_by_store(store, modality, queries, rows, k)


def _gathered(
    store: EmbeddingStore, modality: Modality, rows: RowIds
) -> Iterator[tuple[int, npt.NDArray[np.floating]]]:
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield start, store.gather(modality, rows[start : start + _BLOCK_ROWS])
