"""Nodes of a graph that no walk from its entry point reaches, and links to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.hnsw import search_graph

__all__ = ["level_links", "link_unreached", "reached_nodes"]

Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

_NODES = 16_384  # nodes whose links are followed at once
_NEAR, _EF_SEARCH = 16, 64  # reached nodes that are looked at for a link to one that is not
_QUERIES = 4_096
# A link that replaces another can cut off a node, so it is looked again.
_ROUNDS = 32


def level_links(graph: Any, level: int, nodes: Ids) -> tuple[Numbers, Ids]:
    """A view of faiss's array of links, and the places [n, most] in it of the nodes' links on a level."""
    import faiss

    hnsw = graph.hnsw
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    starts = faiss.rev_swig_ptr(hnsw.offsets.data(), hnsw.offsets.size())[nodes].astype(np.int64)
    return links, (starts + hnsw.cum_nb_neighbors(level))[:, None] + np.arange(hnsw.nb_neighbors(level))


def reached_nodes(graph: Any) -> npt.NDArray[np.bool_]:
    """bool [n]: the nodes that links of level 0 lead to from the graph's entry point."""
    reached = np.zeros(graph.ntotal, np.bool_)
    if not graph.ntotal:
        return reached
    waiting = np.array([graph.hnsw.entry_point], np.int64)
    reached[waiting] = True
    while len(waiting):
        following = []
        for start in range(0, len(waiting), _NODES):
            links, places = level_links(graph, 0, waiting[start : start + _NODES])
            new = np.unique(links[places])
            new = new[new >= 0]
            new = new[~reached[new]]
            reached[new] = True
            following.append(new.astype(np.int64))
        waiting = np.concatenate(following)
    return reached


def link_unreached(graph: Any) -> int:
    """Link each node that is not reached from a near one that is; return how many were not at first."""
    first = None
    for _ in range(_ROUNDS):
        reached = reached_nodes(graph)
        left = np.flatnonzero(~reached)
        first = len(left) if first is None else first
        if not len(left):
            break
        for start in range(0, len(left), _QUERIES):
            _link(graph, left[start : start + _QUERIES], reached)
    return first or 0


def _link(graph: Any, nodes: Ids, reached: npt.NDArray[np.bool_]) -> None:
    vectors = np.stack([graph.reconstruct(int(node)) for node in nodes])
    near = search_graph(graph, np.ascontiguousarray(vectors, np.float32), _NEAR, _EF_SEARCH)[1]
    for node, found in zip(nodes.tolist(), near, strict=True):
        sources = found[found >= 0]
        sources = sources[reached[sources]]
        if not len(sources):
            sources = np.array([graph.hnsw.entry_point], np.int64)
        links, places = level_links(graph, 0, sources)
        free = links[places] < 0
        row = int(np.argmax(free[:, -1]))  # the nearest with a free place, else the nearest
        column = int(np.argmax(free[row])) if free[row, -1] else places.shape[1] - 1
        links[places[row, column]] = node
