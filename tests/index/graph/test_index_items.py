"""A shard of listed rows is named by its list, and its forgotten rows are positions in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.graph.build import IndexConfig, plan_index_items, prepare_layout
from index.graph.index_items import IndexItem
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import clustered, run_here, vector_store
from tests.retrieval.stores import forget


def planned(store: EmbeddingStore, layout: str) -> list[IndexItem]:
    config = IndexConfig(str(store.path), shard_rows=250, layout=layout)
    prepare_layout(config, run_here)
    return plan_index_items(config)


def test_items_of_both_layouts(tmp_path: Path) -> None:
    store = vector_store(tmp_path, *clustered(1_000))
    consecutive, by_meaning = planned(store, "rows"), planned(store, "meaning")
    assert [item.source_rows for item in consecutive] == [(first, 250) for first in range(0, 1_000, 250)]
    assert [item.source_rows for item in by_meaning] == [(0, 1_000)] * 4
    assert [item.rows for item in by_meaning] == [250] * 4
    assert len({item.recipe for item in (*consecutive, *by_meaning)}) == 8
    assert planned(store, "meaning") == by_meaning
    assert consecutive[0].view(store) is None

    view = by_meaning[2].view(store)
    assert view is not None
    forget(store, [*view.listed[[4, 9]].tolist(), 251])
    assert set(by_meaning[2].forgotten(store).tolist()) >= {4, 9}
    assert sum(len(item.forgotten(store)) for item in by_meaning) == 3
    assert 251 - 250 in consecutive[1].forgotten(store).tolist()
    assert [item.forgotten_hash(store) == "" for item in by_meaning].count(False) in (1, 2)
    assert planned(store, "meaning") == by_meaning  # what is forgotten does not group rows anew
    assert np.array_equal(by_meaning[2].forgotten(store), view.forgotten)
