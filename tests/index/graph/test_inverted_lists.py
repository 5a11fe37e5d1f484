"""Inverted lists: near rows are candidates, the bytes do not depend on threads."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from index.graph.hnsw import open_graph, search_graph, write_graph
from index.graph.inverted_lists import build_lists, is_lists, list_count, search_lists, training_rows
from tests.index.vectors import clustered, exact_ids

ROWS = 3_000


def test_candidates_hold_the_exact_results_and_a_file_answers_alike(tmp_path: Path) -> None:
    image, text = clustered(ROWS)
    lists = build_lists([image[:2_000], image[2_000:2_000], image[2_000:]], image, ROWS)
    asked = text[:50].astype(np.float32)
    scores, found = search_lists(lists, asked, 200, 200)
    truth = exact_ids(image, asked, 10)
    assert np.mean([np.isin(best, some).mean() for best, some in zip(truth, found, strict=True)]) > 0.95
    assert (np.diff(scores, axis=1) <= 0).all()
    exact = np.einsum("qd,qkd->qk", asked, image[found].astype(np.float32))
    assert np.abs(scores - exact).mean() < 0.1  # inner products, as those of a graph
    write_graph(lists, tmp_path / "lists")
    opened = open_graph(tmp_path / "lists")
    assert is_lists(opened)
    again = search_graph(opened, asked, 200, 200)
    np.testing.assert_array_equal(again[1], found)


def test_missing_rows_are_minus_one(tmp_path: Path) -> None:
    image, text = clustered(20)
    lists = build_lists([image], image, 20)
    scores, found = search_lists(lists, text[:2].astype(np.float32), 30, 100)
    assert sorted(found[0][:20]) == list(range(20))
    assert (found[:, 20:] == -1).all()
    assert np.isneginf(scores[:, 20:]).all()


def test_the_bytes_do_not_depend_on_the_number_of_threads() -> None:
    image, _ = clustered(ROWS)
    written = set()
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            written.add(faiss.serialize_index(build_lists([image], image[::2], ROWS)).tobytes())
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert len(written) == 1


@pytest.mark.parametrize(("rows", "lists", "learned"), [(1, 1, 1), (10_000, 400, 10_000), (10**10, 65_536, 2_097_152)])
def test_lists_grow_with_the_square_root_of_the_rows(rows: int, lists: int, learned: int) -> None:
    assert (list_count(rows), training_rows(rows)) == (lists, learned)
