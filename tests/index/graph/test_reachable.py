"""Nodes that no link leads to get one."""

from __future__ import annotations

from typing import Any

import numpy as np

from index.graph.hnsw import HnswSpec, build_graph, search_graph
from index.graph.reachable import level_links, link_unreached, reached_nodes
from tests.index.vectors import clustered


def _graph(rows: int) -> tuple[Any, np.ndarray]:
    images = clustered(max(rows, 1), dim=32)[0][:rows].astype(np.float32)
    return build_graph([images], np.zeros((1, 32), np.float32), HnswSpec(M=8, ef_construction=40)), images


def _cut_off(graph: Any, nodes: np.ndarray) -> None:
    links, places = level_links(graph, 0, np.arange(graph.ntotal))
    found = links[places]
    found[np.isin(found, nodes)] = -1
    links[places] = np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable"), axis=1)


def test_nodes_that_were_cut_off_are_reached_and_found_again() -> None:
    graph, images = _graph(600)
    link_unreached(graph)  # a graph by insertion may have some
    assert reached_nodes(graph).all()
    lost = np.array([n for n in (3, 50, 51, 599) if n != graph.hnsw.entry_point])
    _cut_off(graph, lost)
    assert np.array_equal(np.flatnonzero(~reached_nodes(graph)), lost)
    assert link_unreached(graph) == len(lost)
    assert reached_nodes(graph).all()
    found = search_graph(graph, np.ascontiguousarray(images[lost]), 1, 64)[1]
    assert np.array_equal(found[:, 0], lost)


def test_where_no_place_is_free_a_link_is_replaced() -> None:
    graph, _ = _graph(400)
    links, places = level_links(graph, 0, np.arange(400))
    lost = int((graph.hnsw.entry_point + 7) % 400)
    _cut_off(graph, np.array([lost]))
    full = links[places]
    other = np.where(np.arange(400) == lost, (lost + 1) % 400, np.arange(400))[::-1]
    links[places] = np.where(full < 0, np.resize(other[other != lost], full.shape), full)
    assert not reached_nodes(graph)[lost]
    link_unreached(graph)
    assert reached_nodes(graph).all()


def test_nothing_changes_where_all_are_reached() -> None:
    import faiss

    for rows in (0, 1, 300):
        graph, _ = _graph(rows)
        link_unreached(graph)
        before = faiss.serialize_index(graph).tobytes()
        assert link_unreached(graph) == 0
        assert faiss.serialize_index(graph).tobytes() == before
