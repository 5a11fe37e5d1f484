"""Rows are ranked by the store's vectors; a score does not depend on the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.graph.rerank import rank_by_store
from tests.retrieval.stores import make_store, random_unit


def test_rows_are_ranked_by_exact_scores_and_missing_ones_come_last(tmp_path: Path) -> None:
    vectors, queries = random_unit(50), random_unit(300, seed=7).astype(np.float32)
    store = make_store(tmp_path, vectors, images=[b""] * 50)
    rows = np.tile(np.array([9, -1, 3, 44]), (300, 1))
    scores, best = rank_by_store(store, "image", queries, rows, 4)
    exact = queries.astype(np.float64) @ vectors[[9, 3, 44]].astype(np.float64).T
    assert np.array_equal(best[:, :3], np.array([9, 3, 44])[np.argsort(-exact, axis=1)])
    assert np.array_equal(scores[:, :3], -np.sort(-exact, axis=1).astype(np.float32))
    assert (best[:, 3] == -1).all()
    assert np.isneginf(scores[:, 3]).all()
    assert np.array_equal(rank_by_store(store, "image", queries[5:6], rows[:1], 2)[0][0], scores[5, :2])
