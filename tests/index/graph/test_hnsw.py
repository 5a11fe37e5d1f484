"""A graph has the same bytes with any number of threads, and the same answers from a file as from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput, StoreInvalid
from index.graph.hnsw import HnswSpec, build_graph, open_graph, search_graph, usable_rows, write_graph
from tests.index.vectors import Halves, clustered, exact_ids


def graph_of(vectors: Halves, spec: HnswSpec | None = None) -> Any:
    return build_graph([vectors], vectors, spec or HnswSpec())


def test_threads_do_not_change_the_bytes(tmp_path: Path) -> None:
    import faiss

    image, _ = clustered(2_500)
    before, written = faiss.omp_get_max_threads(), []
    for run, threads in enumerate((1, 2, 3)):
        faiss.omp_set_num_threads(threads)
        write_graph(graph_of(image), tmp_path / str(run))
        assert faiss.omp_get_max_threads() == threads
        written.append((tmp_path / str(run)).read_bytes())
    faiss.omp_set_num_threads(before)
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("codec", ["fp16", "sq8"])
def test_a_mapped_graph_answers_as_the_built_one(tmp_path: Path, codec: Any) -> None:
    image, text = clustered(2_000)
    built = graph_of(image, HnswSpec(codec))
    write_graph(built, tmp_path / "graph")
    queries = text[:50].astype(np.float32)
    scores, nodes = search_graph(open_graph(tmp_path / "graph"), queries, 10, 64)
    expected_scores, expected_nodes = search_graph(built, queries, 10, 64)
    # Not to the bit: a file's vectors may be aligned in memory in another way than allocated ones.
    assert np.allclose(scores, expected_scores, rtol=0, atol=1e-6)
    assert (nodes == expected_nodes).mean() > 0.99


def test_fp16_scores_are_exact_and_a_wide_walk_finds_all() -> None:
    image, text = clustered(2_000)
    queries = text[:50].astype(np.float32)
    scores, nodes = search_graph(graph_of(image), queries, 10, 1_000)
    assert (nodes == exact_ids(image, queries, 10)).mean() > 0.99
    assert np.abs(scores - np.take_along_axis(queries @ image.astype(np.float32).T, nodes, 1)).max() < 1e-6


def test_zero_and_broken_rows_are_not_in_the_graph() -> None:
    image, _ = clustered(500)
    image[7], image[8], image[9] = 0, np.nan, np.inf
    with np.errstate(invalid="ignore"):
        assert np.flatnonzero(~usable_rows(image.astype(np.float32))).tolist() == [7, 8, 9]
    assert graph_of(image).ntotal == 497


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    import faiss

    (tmp_path / "text").write_bytes(b"no index")
    with pytest.raises(StoreInvalid, match="cannot be read as an index"):
        open_graph(tmp_path / "text")
    faiss.write_index(faiss.IndexFlatIP(4), str(tmp_path / "flat"))
    with pytest.raises(StoreInvalid, match="is not an HNSW index but IndexFlat"):
        open_graph(tmp_path / "flat")


@pytest.mark.parametrize("wrong", [{"codec": "pq"}, {"M": 2}, {"ef_construction": 8}])
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        HnswSpec(**wrong)
