"""Shards answer as one, and what is ranked again by the store does not depend on the graph's codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from tests.index.vectors import build, clustered, exact_ids, vector_store


@pytest.mark.parametrize("codec", ["fp16", "sq8"])
def test_the_best_rows_of_all_shards_are_kept(tmp_path: Path, codec: str) -> None:
    image, text = clustered(600)
    store = vector_store(tmp_path, image, text)
    build(IndexConfig(str(store.path), shard_rows=250, codec=codec, queries=20))
    queries = text[:50].astype(np.float32)
    scores, rows = open_index(store, "image").search(queries, 20, 600)
    assert (rows == exact_ids(image, queries, 20)).mean() > 0.99
    assert np.abs(scores - np.take_along_axis(queries @ image.astype(np.float32).T, rows, 1)).max() < 1e-6
