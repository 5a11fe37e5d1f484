"""Near-duplicates of some rows among the rows of a store: by its image index, or in a small store by comparing all.

Near-duplicates of a row are its nearest neighbours, which a graph finds in time that hardly grows with the store. The
graph's answers are candidates; each pair is decided by the store's own vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from index.duplicates.components import spanning_edges
from index.duplicates.near_duplicates import SUMMED, Pairs, StoreVectors, close_pairs, surely_close
from index.graph.hnsw import usable_rows
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore

__all__ = ["ALL_PAIRS", "CANDIDATES", "edges_of_rows"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# A store of up to so many rows is compared row by row, without an index: 10 s at 512 dimensions and 137 GFLOP/s.
ALL_PAIRS = 50_000
# Neighbours of a row that are looked at. Where all of them are near-duplicates, the next number is tried. Members of a
# larger group are joined by chains, and `index.graph` answers with all members of a crowd of near-copies.
CANDIDATES = (8, 64, 256)
# Candidates kept while walking a graph: those for captions need more, a row's own neighbours are found with few.
_EF_SEARCH = 24
# How far a rounded vector's cosine may be from the stored one's: pairs above the limit less this are looked at.
_ROUNDING = {"fp16": 1e-3, "sq8": 0.02, "sq4": 0.06}
_ANY = 1.0  # for other codecs all candidates are looked at
_BLOCK_ROWS = 8_192
# Pairs that are held before they are joined: 16 MB.
_HELD = 1_000_000


def edges_of_rows(store: EmbeddingStore, first: int, last: int, until: int, threshold: float) -> Ints:
    """int64 [m, 2]: (row, least row of its component), ascending, of the components of near-duplicate pairs.

    The pairs are those of a row first .. last - 1 and a row below `until`, whose cosine is at least `threshold`; fewer
    than the pairs come back, since rows of one component need not all be compared.

    Raises:
        StoreInvalid: the store has more than ALL_PAIRS rows and its image index is missing or damaged.
    """
    edges, waiting, held = np.empty((0, 2), np.int64), [], 0
    found = _all_pairs(store, first, last, until, threshold)
    if until > ALL_PAIRS:
        found = _by_index(store, first, last, until, threshold)
    for one, other in found:
        waiting.append(np.stack([one, other], axis=1))
        held += len(one)
        if held >= _HELD:
            edges, waiting, held = spanning_edges(np.concatenate([edges, *waiting])), [], 0
    return spanning_edges(np.concatenate([edges, *waiting]))


def _all_pairs(store: EmbeddingStore, first: int, last: int, until: int, threshold: float) -> Iterator[Pairs]:
    everything = np.arange(until, dtype=np.int64)
    own = everything if (first, last) == (0, until) else everything[first:last]
    return close_pairs(StoreVectors(store, everything), own, everything, threshold)


def _by_index(store: EmbeddingStore, first: int, last: int, until: int, threshold: float) -> Iterator[Pairs]:
    manifest = read_index_manifest(index_folder(store, "image"))
    low = threshold - _ROUNDING.get(manifest.spec.codec if manifest is not None else "", _ANY)
    # One shard at a time, so that no more than a shard needs to be in memory.
    for number in range(len(manifest.shards) if manifest is not None else 1):
        index = open_index(store, "image", [number])
        for start, block in store.blocks("image", _BLOCK_ROWS, first, last):
            vectors = np.asarray(block, np.float32)
            usable = np.flatnonzero(usable_rows(vectors))
            vectors = np.ascontiguousarray(vectors[usable])
            for place, rows in _candidates(index, vectors, low):
                other = (rows != usable[place] + start) & (rows < until)
                place, rows = place[other], rows[other]
                for begin in range(0, len(place), SUMMED):
                    one, some = place[begin : begin + SUMMED], rows[begin : begin + SUMMED]
                    right = store.gather("image", some).astype(np.float32)
                    close = surely_close(vectors[one], right, threshold)
                    yield usable[one[close]] + start, some[close]


def _candidates(index: HnswIndex, vectors: Floats, low: float) -> Iterator[Pairs]:
    """Yield (places in `vectors`, rows) of neighbours whose cosine by the index is at least `low`."""
    left = np.arange(len(vectors), dtype=np.int64)
    for k in CANDIDATES:
        if not len(left):
            return
        scores, rows = index.find(np.ascontiguousarray(vectors[left]), k, max(_EF_SEARCH, k))
        near = (scores >= low) & (rows >= 0)
        full = near.sum(axis=1) >= k
        ended = ~full if k != CANDIDATES[-1] else np.ones(len(left), np.bool_)
        place, column = np.nonzero(near & ended[:, None])
        yield left[place], rows[place, column]
        left = left[~ended]
