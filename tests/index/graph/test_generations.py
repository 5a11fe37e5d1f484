"""In whatever order a store grows, forgets, is compacted and indexed: its index opens and answers as an exact scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.build import IndexConfig, build_index_item, undone_index_items
from index.graph.search_index import open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from tests.index.vectors import Halves, build, clustered, exact_ids, grow, vector_store

START, STEPS = 300, 12


def _check(store: EmbeddingStore, vectors: Halves, gone: set[int], queries: Halves) -> None:
    index = open_index(store, "image")
    # With so large an efSearch a walk of a small graph reaches every node that it can.
    found = index.search(queries, 10, 2_000)[1]
    kept = vectors[: store.rows].copy()
    kept[sorted(gone)] = -1  # below every other row
    assert not np.isin(found, sorted(gone)).any()
    assert (found == exact_ids(kept, queries, 10)).mean() > 0.97
    assert index.tail_rows <= store.rows


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_changes_is_answered_as_by_an_exact_scan(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    image, text = clustered(2_000, dim=16, clusters=8, seed=seed)
    image, text, queries = np.abs(image), np.abs(text), np.abs(text[-40:])  # so that a row of -1 is the worst
    store = vector_store(tmp_path, image[:START], text[:START])
    gone: set[int] = set()
    config = IndexConfig(str(store.path), "image", shard_rows=170, queries=20)
    build(config)
    for step in random.choice(["grow", "forget", "compact", "index", "killed index", "new index"], STEPS):
        if step == "grow" and store.rows < 1_700:
            more = store.rows + int(random.integers(1, 130))
            store = grow(store, image[store.rows : more], text[store.rows : more])
        elif step == "forget":
            rows = random.integers(0, store.rows, int(random.integers(1, 30)))
            forget_rows(store, row_ids=rows.tolist())
            gone |= set(rows.tolist())
        elif step == "compact":
            compact_store(str(store.path))
            store = EmbeddingStore.open(store.path)
        elif step == "index":
            build(config)
        elif step == "killed index":
            for item in undone_index_items(config)[:1]:
                build_index_item(item, config)
        elif step == "new index":
            config = IndexConfig(str(store.path), "image", M=int(random.integers(8, 24)))
            build(config)
        _check(store, image, gone, queries)
    build(config)
    compact_store(str(store.path))
    build(config)
    store = EmbeddingStore.open(store.path)
    assert not undone_index_items(config)
    _check(store, image, gone, queries)
    assert open_index(store, "image", checksums=True).tail_rows == 0
