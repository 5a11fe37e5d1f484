"""Exact search of a store: one pass over its rows for all queries, whatever their number and K.

For thousands of queries with a large K this is faster than a graph (see `retrieval.search.planner`), and no row is
missed. Candidates are found by fp32 matrix products, whose last bits depend on the device and on how many queries are
asked at once. The scores of the k best are then computed again, row by row in float64, and rounded once to fp32. So
scores, rows and their order are the same for any batch of queries. Of equal scores the smaller row id comes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.graph.exact import best_device, exact_top_k
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["SCAN_BLOCK_ROWS", "SPARE", "scan", "settle_scores"]

# 64 MB of fp16 at 512 dimensions: a read large enough for a disk, small enough for read-ahead.
SCAN_BLOCK_ROWS = 65_536
# fp32 sums of 512 products of unit vectors were off by 2e-7 at most: a row this far below the k-th is not among the k.
_TOO_NEAR = 2e-6
# Rows kept beyond k, so that those too near to rank k can trade places with it.
SPARE = 16
# Query-row pairs whose rows are read at once, and those computed again at once: 2 MB at 512 dimensions in float64,
# which stays in the processor's cache. 16,384 at once took 1.7 times as long.
_PAIRS, _COMPUTED = 16_384, 512


def scan(
    store: EmbeddingStore,
    modality: Modality,
    queries: npt.NDArray[np.floating[Any]],
    k: int,
    *,
    exclude: npt.NDArray[np.int64] | None = None,
    device: str | None = None,
    start: int = 0,
    stop: int | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The k rows of the store nearest to each query by inner product, found by comparing with every row.

    Args:
        store: read block by block, each block once for all queries.
        modality: "image" or "text": which embeddings are searched.
        queries: [q, d] unit rows.
        k: rows a query.
        exclude: row ids not to return, beside the forgotten and the zero ones.
        device: "cpu" or "cuda"; a GPU where there is one by default.
        start, stop: only rows start .. stop - 1 are compared; all by default.

    Returns:
        scores float32 [q, k] falling, row ids int64 [q, k]; -inf and -1 where fewer than k rows are left.

    Raises:
        BadInput: k < 1, queries of another dimension, or a store without these embeddings.
    """
    if k < 1:
        raise BadInput(f"k is {k}: ask for at least one row")
    if queries.ndim != 2 or queries.shape[1] != store.dim:
        raise BadInput(f"queries have shape {queries.shape}, the store needs [q, {store.dim}]")
    excluded = store.forgotten
    if exclude is not None:
        excluded = np.union1d(excluded, exclude)
    stop = store.rows if stop is None else min(stop, store.rows)
    keep = min(k + SPARE, max(stop - start, 1))
    blocks = store.blocks(modality, SCAN_BLOCK_ROWS, start, stop)
    scores, ids = exact_top_k(blocks, queries, keep, excluded=excluded, device=device or best_device())
    settle_scores(store, modality, queries, scores, ids, k)
    return _pad(scores[:, :k], k, -np.inf), _pad(ids[:, :k], k, -1)


def settle_scores(
    store: EmbeddingStore,
    modality: Modality,
    queries: npt.NDArray[np.floating[Any]],
    scores: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int64],
    k: int,
) -> None:
    """Compute the scores of the k best again in float64, and sort scores and ids by the result, in place.

    queries: [q, d]. scores: float32 [q, n], falling along each line. ids: int64 [q, n], -1 where rows have run out.
    Rows beyond the k best are computed again where they are near enough to trade places with the k-th. Results of scans
    over parts of a store, merged and then settled here, equal those of one scan over all of it.
    """
    if not scores.size:
        return
    last = scores[:, min(k, scores.shape[1]) - 1]
    chosen = (scores > last[:, None] - _TOO_NEAR) | (np.arange(scores.shape[1]) < k)
    query, place = np.nonzero(chosen & (ids >= 0))
    precise = scores.astype(np.float64)
    wide = queries.astype(np.float64)
    for start in range(0, len(query), _PAIRS):
        some = (query[start : start + _PAIRS], place[start : start + _PAIRS])
        rows = store.gather(modality, ids[some])
        precise[some] = np.concatenate(
            [
                np.einsum("ij,ij->i", rows[at : at + _COMPUTED].astype(np.float64), wide[some[0][at : at + _COMPUTED]])
                for at in range(0, len(rows), _COMPUTED)
            ]
        )
    # Ids ascending first, then a stable sort by score: equal scores end up in the order of their ids.
    by_id = np.argsort(ids, axis=1)
    own_ids, precise = np.take_along_axis(ids, by_id, axis=1), np.take_along_axis(precise, by_id, axis=1)
    order = np.argsort(-precise, axis=1, kind="stable")
    ids[:] = np.take_along_axis(own_ids, order, axis=1)
    scores[:] = np.take_along_axis(precise, order, axis=1)


def _pad(values: npt.NDArray[Any], k: int, filler: float) -> npt.NDArray[Any]:
    return np.pad(values, ((0, 0), (0, k - values.shape[1])), constant_values=filler)
