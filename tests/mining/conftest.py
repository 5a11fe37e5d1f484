"""The store that the strategies' tests share."""

from __future__ import annotations

import pytest

from index.store.embedding_store import EmbeddingStore
from tests.mining.worlds import index_both, mining_store


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """240 rows of `tests.mining.worlds`, with both indexes. Shared: read it, don't change it."""
    store = mining_store(tmp_path_factory.mktemp("world"))
    index_both(store)
    return store
