"""Inverted lists of rows in one bit a component: the smallest index, for stores whose graphs do not fit the memory.

Rows are divided among lists by the nearest of some centroids (k-means), which a small HNSW graph finds. A list holds
RaBitQ codes of its rows' differences from the centroid (Gao and Long, https://arxiv.org/abs/2405.12497). A search
estimates the distances of all rows of the nearest lists; its candidates must be ranked again by exact vectors.

faiss estimates squared distances, and with inner products as the metric its lists were worse (recall@10 of ranked
candidates .976 instead of 1.000 on 20,000 x 256, with a quarter of all lists): centroids differ in length.

The same rows give the same bytes with any number of threads: k-means, whose matrix products depend on it, takes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LIST_RULES", "build_lists", "is_lists", "list_count", "search_lists", "training_rows"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Lists: so many times the square root of the rows. Rows that k-means learns from, for each list, and its iterations.
_LISTS, _MOST_LISTS = 4, 65_536
_LEARNED, _ITERATIONS, _SEED = 32, 8, 1_234
_LINKS = 16  # M of the graph of centroids
# A search with n candidates visits n / 2 lists. On 20,000 x 256 (565 lists), 32 of them found .999 of the ten best.
_CANDIDATES_PER_LIST = 2
# What decides the lists; part of the name of a shard that has them.
LIST_RULES = ("lists", _LISTS, _MOST_LISTS, _LEARNED, _ITERATIONS, _SEED, _LINKS)


def list_count(rows: int) -> int:
    """Lists of a shard of so many rows."""
    return max(1, min(round(_LISTS * math.sqrt(rows)), _MOST_LISTS, rows))


def training_rows(rows: int) -> int:
    """Rows that k-means learns the centroids of a shard of `rows` rows from."""
    return min(rows, _LEARNED * list_count(rows))


def build_lists(blocks: Iterable[npt.NDArray[Any]], sample: npt.NDArray[Any], rows: int) -> Any:
    """Build a faiss index of the vectors [n, d] of `blocks`, in their order, which must be usable.

    Args:
        sample: unit vectors [m, d] that the centroids are learned from, at least one; `training_rows` says how many.
        rows: of the shard; decides the number of lists.
    """
    import faiss

    learned = np.ascontiguousarray(sample, np.float32)
    dim = learned.shape[1]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        means = faiss.Kmeans(
            dim,
            min(list_count(rows), len(learned)),
            niter=_ITERATIONS,
            seed=_SEED,
            min_points_per_centroid=1,
            max_points_per_centroid=len(learned),
        )
        means.train(learned)
        quantizer = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_L2)
        quantizer.add(means.centroids)
        lists = faiss.IndexIVFRaBitQ(quantizer, dim, quantizer.ntotal, faiss.METRIC_L2)
        lists.own_fields = True
        quantizer.this.disown()
        lists.train(learned)
    finally:
        faiss.omp_set_num_threads(threads)
    for block in blocks:
        if len(block):
            lists.add(np.ascontiguousarray(block, np.float32))
    return lists


def is_lists(index: Any) -> bool:
    """Whether a faiss index is one of inverted lists, not a graph."""
    return type(index).__name__ == "IndexIVFRaBitQ"


def search_lists(lists: Any, queries: Floats, k: int, candidates: int) -> tuple[Floats, Ids]:
    """The k nearest rows by their codes: estimated inner products [q, k], descending, and numbers, -1 where missing."""
    import faiss

    probed = max(1, min(-(-max(candidates, k) // _CANDIDATES_PER_LIST), lists.nlist))
    parameters = faiss.IVFRaBitQSearchParameters(
        nprobe=probed, quantizer_params=faiss.SearchParametersHNSW(efSearch=2 * probed)
    )
    squared, numbers = lists.search(queries, k, params=parameters)
    lengths = np.einsum("ij,ij->i", queries, queries)[:, None]
    scores: Floats = (1 + lengths - squared) / 2  # of unit rows
    scores[numbers < 0] = -np.inf
    return scores, numbers
