"""The order of rows by the store's own vectors: exact scores that do not depend on what is asked at the same time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["SPARE", "rank_by_store"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

# Rows beyond k that a ranking in fp32 keeps, so that those too near to the k-th can trade places with it.
SPARE = 16
# Query-row pairs at once: 256 MB at 512 dimensions in float64.
_PAIRS = 65_536


def rank_by_store(
    store: EmbeddingStore, modality: Modality, queries: Floats, rows: RowIds, k: int
) -> tuple[Floats, RowIds]:
    """The k best of the rows int64 [q, n] for each query [q, d]; -1 counts as no row.

    Scores are summed in float64 and rounded once, so that a score does not depend on how many queries are asked at
    once.
    """
    scores = np.empty(rows.shape, np.float32)
    step = max(1, _PAIRS // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        # Each row is read once, in the order of the file.
        distinct, places = np.unique(np.maximum(some, 0), return_inverse=True)
        vectors = store.gather(modality, distinct).astype(np.float64)[places.reshape(-1)]
        wide = queries[start : start + step, :, None].astype(np.float64)
        products = np.matmul(vectors.reshape(*some.shape, -1), wide)[:, :, 0]
        scores[start : start + step] = np.where(some < 0, -np.inf, products)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
