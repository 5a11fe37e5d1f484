"""Graphs whose links suit captions: fewer comparisons for other captions, and as good for images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from index.graph.hnsw import HnswSpec, build_graph, open_graph, search_graph, write_graph
from index.graph.query_graph import build_query_graph
from index.graph.reachable import level_links, reached_nodes
from tests.index.vectors import clustered

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def world() -> tuple[Floats, Floats]:
    """Images, and twice as many captions: half of them for the links, half to ask."""
    images, captions = clustered(6_000, dim=64, clusters=200)
    return images[:3_000].astype(np.float32), captions.astype(np.float32)


def _plain(images: Floats, codec: str = "fp16") -> Any:
    return build_graph([images], images, HnswSpec(codec, M=16))  # type: ignore[arg-type]


def _fitted(images: Floats, captions: Floats, codec: str = "fp16") -> Any:
    spec = HnswSpec(codec, M=16)  # type: ignore[arg-type]
    blocks = [images[:1_000], images[1_000:]]
    return build_query_graph(blocks, images, [captions[:1_000], captions[1_000:]], spec)


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
    plain, fitted = _plain(images, codec), _fitted(images, captions[:3_000], codec)
    before, after = (_recall(graph, images, asked, 16) for graph in (plain, fitted))
    assert 1 - after < 0.7 * (1 - before)
    assert _recall(fitted, images, own, 16) >= _recall(plain, images, own, 16) - 0.004
    assert _comparisons(fitted, asked, 16) < 1.2 * _comparisons(plain, asked, 16)


def test_the_same_rows_give_the_same_bytes_with_any_number_of_threads(world: tuple[Floats, Floats]) -> None:
    import faiss
    import torch

    images, captions = world
    before, files = (faiss.omp_get_max_threads(), torch.get_num_threads()), []
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            torch.set_num_threads(threads)
            files.append(faiss.serialize_index(_fitted(images, captions[:3_000])).tobytes())
    finally:
        faiss.omp_set_num_threads(before[0])
        torch.set_num_threads(before[1])
    assert files[0] == files[1]


def test_links_are_other_nodes_once_each_and_every_node_is_reached(world: tuple[Floats, Floats]) -> None:
    images, captions = world
    graph = _fitted(images, captions[:3_000])
    assert np.array_equal(graph.reconstruct_n(0, len(images)), images)  # they are float16
    assert reached_nodes(graph).all()
    array, places = level_links(graph, 0, np.arange(len(images)))
    for node, links in enumerate(array[places]):
        linked = links[links >= 0]
        assert len(linked)
        assert (links[: len(linked)] >= 0).all()
        assert len(set(linked.tolist())) == len(linked)
        assert node not in linked


def test_it_is_searched_from_its_file(world: tuple[Floats, Floats], tmp_path: Path) -> None:
    images, captions = world
    graph = _fitted(images, captions[:3_000], "sq4")
    write_graph(graph, tmp_path / "graph.faiss")
    read = open_graph(tmp_path / "graph.faiss")
    asked = captions[3_000:3_100]
    assert np.array_equal(search_graph(read, asked, 10, 32)[1], search_graph(graph, asked, 10, 32)[1])


def test_rows_without_a_direction_are_left_out_and_without_captions_images_find_images(
    world: tuple[Floats, Floats],
) -> None:
    images = world[0].copy()
    images[::7] = 0
    own = np.flatnonzero(images.any(axis=1))
    graph = build_query_graph([images], images, [], HnswSpec(M=16))
    assert graph.ntotal == len(own)
    found = search_graph(graph, np.ascontiguousarray(images[own[:300]]), 1, 32)[1][:, 0]
    assert np.mean(found == np.arange(300)) > 0.99


@pytest.mark.parametrize(("rows", "M"), [(0, 16), (1, 16), (2, 4), (40, 5)])
def test_a_graph_of_few_nodes(world: tuple[Floats, Floats], rows: int, M: int) -> None:
    images, captions = world
    graph = build_query_graph([images[:rows]], images[:rows], [captions[:10]], HnswSpec(M=M, ef_construction=16))
    assert graph.ntotal == rows
    if rows:
        found = search_graph(graph, images[:rows], 1, 32)[1][:, 0]
        assert np.array_equal(found, np.arange(rows))
