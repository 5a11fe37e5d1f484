"""Links of an image graph that suit captions as queries.

A caption's vector lies apart from all images, so its nearest images are not near each other, and a walk along links
between near images needs a long candidate list to find them all (Chen et al., RoarGraph,
https://arxiv.org/abs/2408.08933; Jaiswal et al., OOD-DiskANN, https://arxiv.org/abs/2211.12850). So captions of the
store are searched in the finished graph. Images that often answer the same captions become candidates for links, beside
the links that a node has, and HNSW's rule chooses among them, relaxed as in DiskANN
(https://papers.nips.cc/paper/9527): a candidate is dropped if a nearer one that was chosen is nearer to it than the
node by a factor of more than `_RELAXED`.

The nodes, their vectors and the upper levels stay as they are. On one machine the result does not depend on the number
of threads, as that of the build.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.co_answers import CoAnswers
from index.graph.hnsw import search_graph

__all__ = ["QUERY_LINK_RULES", "add_query_links"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

# A caption's answers: its nearest images, found with so long a list. Exact answers gave the same links' quality.
_ANSWERS, _EF_SEARCH = 16, 48
# Candidates of a node that are images which answer the same captions; those in most captions come first.
_CANDIDATES = 48
# The factor of distances. With 1, HNSW's own, captions' links are mostly dropped.
_RELAXED = 1.15
# Nodes whose links are chosen at once. So their candidates' vectors, 4 MB of fp32 at 512 dimensions, stay in the
# processor's cache: blocks of 512 nodes took twice as long.
_NODES = 32
# What decides the links; part of the name of a shard that has them.
QUERY_LINK_RULES = ("query links", _ANSWERS, _EF_SEARCH, _CANDIDATES, _RELAXED)


def add_query_links(graph: Any, captions: Iterable[Floats]) -> int:
    """Choose the links of level 0 again, with candidates from `captions`; return the number of captions.

    Args:
        graph: a faiss IndexHNSWSQ over unit vectors, complete.
        captions: blocks of unit vectors [n, d]; not those that recall is measured with.
    """
    answers = [
        search_graph(graph, np.ascontiguousarray(block, np.float32), _ANSWERS, _EF_SEARCH)[1].astype(np.int32)
        for block in captions
        if len(block) and graph.ntotal
    ]
    if not answers:
        return 0
    found = np.concatenate(answers)
    del answers
    together = CoAnswers(found, graph.ntotal)
    neighbors, starts = _level_0(graph)
    width = np.arange(graph.hnsw.nb_neighbors(0))
    for first in range(0, graph.ntotal, _NODES):
        last = min(first + _NODES, graph.ntotal)
        places = starts[first:last, None] + width
        candidates = np.concatenate([neighbors[places], together.most_frequent(first, last, _CANDIDATES)], axis=1)
        neighbors[places] = _chosen(graph, first, _distinct(candidates), len(width))
    return len(found)


def _level_0(graph: Any) -> tuple[npt.NDArray[np.int32], Ids]:
    """Views of faiss's array of neighbours, and of where each node's list of level 0 starts in it."""
    import faiss

    hnsw = graph.hnsw
    neighbors = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    return neighbors, faiss.rev_swig_ptr(hnsw.offsets.data(), hnsw.offsets.size())[:-1].astype(np.int64)


def _distinct(candidates: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The rows' distinct numbers, ascending, then -1; no wider than the longest."""
    ordered = np.sort(candidates, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    order = np.argsort(ordered < 0, axis=1, kind="stable")
    width = max(int((ordered >= 0).sum(axis=1).max(initial=0)), 1)
    return np.take_along_axis(ordered, order, axis=1)[:, :width]


def _chosen(graph: Any, first: int, candidates: npt.NDArray[np.int32], most: int) -> npt.NDArray[np.int32]:
    """int32 [n, most]: the candidates [n, c] that become links of the nodes first .. first + n - 1; -1 where none.

    faiss chooses, in a graph of its own over copies of the codes: first those of the nodes, then each node's
    candidates. There it may use squared distances, whose factor is known; those of inner products have none.
    """
    import faiss

    count, width = candidates.shape
    storage = faiss.downcast_index(graph.storage)
    codes = faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size()).reshape(-1, storage.code_size)
    numbers = np.concatenate([np.arange(first, first + count), np.maximum(candidates, 0).ravel()])
    copied = codes[numbers]
    own = faiss.IndexScalarQuantizer(graph.d, storage.sq.qtype, faiss.METRIC_L2)
    faiss.copy_array_to_vector(faiss.vector_to_array(storage.sq.trained), own.sq.trained)
    own.is_trained = True
    own.add_sa_codes(copied)
    decoded = _decoded(own, copied)
    places = np.arange(count * width, dtype=np.int64).reshape(count, width)
    squared = _squared_distances(decoded[:count], decoded[count:], places)
    squared[candidates < 0] = np.inf
    order = np.argsort(squared, axis=1, kind="stable")
    squared = np.take_along_axis(squared, order, axis=1) / np.float32(_RELAXED**2)
    places = np.where(np.isfinite(squared), np.take_along_axis(places, order, axis=1) + count, -1)
    chooser = faiss.IndexHNSW(own, most // 2)
    faiss.copy_array_to_vector(np.ones(count, np.int32), chooser.hnsw.levels)
    chooser.hnsw.prepare_level_tab(count, True)
    chooser.ntotal = count
    chooser.init_level_0_from_knngraph(
        width, faiss.swig_ptr(np.ascontiguousarray(squared)), faiss.swig_ptr(np.ascontiguousarray(places))
    )
    kept = faiss.vector_to_array(chooser.hnsw.neighbors).reshape(count, most)
    links = np.append(candidates.ravel(), np.int32(-1))[np.where(kept < 0, -1, kept - count)]
    return links.astype(np.int32)


def _decoded(storage: Any, codes: Codes) -> Floats:
    """The vectors fp32 [n, d] of codes [n, code size]."""
    import faiss
    import torch

    if storage.sq.qtype == faiss.ScalarQuantizer.QT_fp16:  # ten times as fast as faiss and numpy
        halves: Floats = torch.from_numpy(codes.view(np.float16)).float().numpy()
        return halves
    decoded: Floats = storage.sa_decode(codes)
    return decoded


def _squared_distances(nodes: Floats, others: Floats, places: Ids) -> Floats:
    """float32 [n, c]: of each node [n, d] to the rows of `others` at its places [n, c]."""
    import faiss

    squared = np.empty(places.shape, np.float32)
    faiss.fvec_L2sqr_by_idx(
        faiss.swig_ptr(squared),
        faiss.swig_ptr(np.ascontiguousarray(nodes)),
        faiss.swig_ptr(np.ascontiguousarray(others)),
        faiss.swig_ptr(places),
        nodes.shape[1],
        len(nodes),
        places.shape[1],
    )
    return squared
