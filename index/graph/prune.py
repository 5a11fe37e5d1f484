"""Which candidates become links of a node: HNSW's rule, relaxed as in DiskANN (https://papers.nips.cc/paper/9527).

Candidates are looked at from the nearest on. One is dropped if a candidate that was chosen before is nearer to it than
the node is, by a factor of more than `relaxed`. faiss compares them, over reduced vectors (`index.graph.reduced`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.reduced import widened

__all__ = ["choose_links", "reduced_storage", "reversed_links", "stored"]

Halves = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]

# Nodes whose candidates' distances are computed at once: with 100 candidates of 128 components 3 MB, which stay in the
# processor's cache.
_NODES = 64


def reduced_storage(dim: int) -> Any:
    """An empty faiss index for reduced vectors, which float16 holds exactly."""
    import faiss

    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)


def stored(storage: Any) -> Halves:
    """A view of the vectors float16 [n, r] in it; valid until more are added."""
    import faiss

    codes = faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size())
    vectors: Halves = codes.view(np.float16).reshape(-1, storage.d)
    return vectors


def choose_links(storage: Any, first: int, candidates: Numbers, most: int, relaxed: float) -> Numbers:
    """int32 [n, most]: the links of the nodes first .. first + n - 1, nearest first, then -1.

    Args:
        candidates: int32 [n, c] nodes, in any order and repeated or not; -1 where there are fewer.
        most: at least 4; of an odd number, one place stays empty.
    """
    import faiss

    nodes = _distinct(candidates, first)
    squared = _squared_distances(stored(storage), first, nodes)
    order = np.argsort(squared, axis=1, kind="stable")
    squared = np.take_along_axis(squared, order, axis=1) / np.float32(relaxed**2)
    places = np.take_along_axis(nodes, order, axis=1).astype(np.int64)
    chooser = faiss.IndexHNSW(storage, most // 2)  # level 0 has twice as many links
    faiss.copy_array_to_vector(np.ones(len(nodes), np.int32), chooser.hnsw.levels)
    chooser.hnsw.prepare_level_tab(len(nodes), True)
    chooser.ntotal = len(nodes)
    # It reads the nodes' candidates and the storage only, so its nodes need not be the first of the storage.
    chooser.init_level_0_from_knngraph(nodes.shape[1], faiss.swig_ptr(squared), faiss.swig_ptr(places))
    links = np.full((len(nodes), most), -1, np.int32)
    links[:, : most - most % 2] = faiss.vector_to_array(chooser.hnsw.neighbors).reshape(len(nodes), -1)
    return links


def reversed_links(links: Numbers, most: int) -> Numbers:
    """int32 [n, most]: the nodes that link to each node; of more than `most` those in whose lists it stands first."""
    count = len(links)
    flat = links.T.ravel()  # by places in the lists, then by nodes
    places = np.flatnonzero(flat >= 0)
    order = places[np.argsort(flat[places], kind="stable")]
    to = flat[order]
    rank = np.arange(len(to)) - np.searchsorted(to, np.arange(count))[to]
    kept = rank < most
    sources = np.full((count, most), -1, np.int32)
    sources[to[kept], rank[kept]] = order[kept] % count
    return sources


def _distinct(candidates: Numbers, first: int) -> Numbers:
    """The rows' distinct nodes without the node itself, ascending, then -1; no wider than the longest, at least 1."""
    own = np.arange(first, first + len(candidates), dtype=np.int32)[:, None]
    ordered = np.where(candidates == own, -1, candidates)
    ordered.sort(axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    last = np.iinfo(np.int32).max
    ordered[ordered < 0] = last
    ordered.sort(axis=1)
    width = max(int((ordered != last).sum(axis=1).max(initial=0)), 1)
    ordered = ordered[:, :width]
    return np.where(ordered == last, -1, ordered)


def _squared_distances(vectors: Halves, first: int, nodes: Numbers) -> Floats:
    """float32 [n, c]: of the nodes first .. to those of each; inf where there is none. Whole numbers, so exact."""
    squared = np.empty(nodes.shape, np.float32)
    for start in range(0, len(nodes), _NODES):
        some = nodes[start : start + _NODES]
        own = widened(vectors[first + start : first + start + len(some)])
        apart = widened(vectors[np.maximum(some, 0)])
        apart -= own[:, None]
        squared[start : start + len(some)] = np.einsum("ijk,ijk->ij", apart, apart)
    squared[nodes < 0] = np.inf
    return squared
