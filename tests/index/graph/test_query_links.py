"""Links that are fitted to captions: fewer comparisons for other captions, and a graph that is as good for images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from index.graph.hnsw import HnswSpec, build_graph, search_graph
from index.graph.query_links import add_query_links
from tests.index.vectors import clustered

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def world() -> tuple[Floats, Floats]:
    """Images, and twice as many captions: half of them for the links, half to ask."""
    images, captions = clustered(6_000, dim=64, clusters=200)
    return images[:3_000].astype(np.float32), captions.astype(np.float32)


def _graph(images: Floats, codec: str = "fp16") -> Any:
    return build_graph([images], images, HnswSpec(codec, M=16))  # type: ignore[arg-type]


def _recall(graph: Any, images: Floats, queries: Floats, ef: int) -> float:
    truth = np.argsort(-(queries @ images.T), axis=1)[:, :10]
    found = search_graph(graph, queries, 10, ef)[1]
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]) / 10)


def _comparisons(graph: Any, queries: Floats, ef: int) -> int:
    import faiss

    faiss.cvar.hnsw_stats.reset()
    search_graph(graph, queries, 10, ef)
    return int(faiss.cvar.hnsw_stats.ndis)


@pytest.mark.parametrize("codec", ["fp16", "sq8"])
def test_other_captions_find_more_with_no_longer_list_and_images_no_less(
    world: tuple[Floats, Floats], codec: str
) -> None:
    images, captions = world
    asked, own = captions[3_000:3_500], np.ascontiguousarray(images[::10])
    plain, fitted = _graph(images, codec), _graph(images, codec)
    assert add_query_links(fitted, [captions[:1_000], captions[1_000:3_000]]) == 3_000
    before, after = (_recall(graph, images, asked, 16) for graph in (plain, fitted))
    assert 1 - after < 0.7 * (1 - before)
    assert _recall(fitted, images, own, 16) >= _recall(plain, images, own, 16) - 0.002
    assert _comparisons(fitted, asked, 16) < 1.2 * _comparisons(plain, asked, 16)


def test_the_same_captions_give_the_same_links_with_any_number_of_threads(world: tuple[Floats, Floats]) -> None:
    import faiss

    images, captions = world
    before, files = faiss.omp_get_max_threads(), []
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            graph = _graph(images)
            add_query_links(graph, [captions[:3_000]])
            files.append(faiss.serialize_index(graph).tobytes())
    finally:
        faiss.omp_set_num_threads(before)
    assert files[0] == files[1]


def test_links_are_other_nodes_once_each_and_vectors_stay(world: tuple[Floats, Floats]) -> None:
    import faiss

    images, captions = world
    graph = _graph(images)
    before = graph.reconstruct_n(0, len(images))
    add_query_links(graph, [captions[:3_000]])
    assert np.array_equal(graph.reconstruct_n(0, len(images)), before)
    neighbors = faiss.vector_to_array(graph.hnsw.neighbors)
    starts = faiss.vector_to_array(graph.hnsw.offsets)[:-1].astype(np.int64)
    for node, links in enumerate(neighbors[starts[:, None] + np.arange(32)]):
        linked = links[links >= 0]
        assert len(linked)
        assert (links[: len(linked)] >= 0).all()
        assert len(set(linked.tolist())) == len(linked)
        assert node not in linked


def test_without_captions_nothing_changes(world: tuple[Floats, Floats]) -> None:
    import faiss

    graph = _graph(world[0][:200])
    before = faiss.serialize_index(graph).tobytes()
    assert add_query_links(graph, []) == 0
    assert faiss.serialize_index(graph).tobytes() == before


def test_a_graph_without_nodes_stays_empty(world: tuple[Floats, Floats]) -> None:
    graph = _graph(world[0][:0])
    assert add_query_links(graph, [world[1][:10]]) == 0
    assert graph.ntotal == 0
