"""The store that the strategies' tests share, and one strategy run over a store in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import Candidates, MiningConfig, MiningContext, in_process
from mining.strategies.registry import get_strategy
from tests.mining.worlds import index_both, mining_store


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """240 rows of `tests.mining.worlds`, with both indexes. Shared: read it, don't change it."""
    store = mining_store(tmp_path_factory.mktemp("world"))
    index_both(store)
    return store


def mining_context(
    store: EmbeddingStore, folder: Path, strategy: str, wanted: int = 30, **choices: Any
) -> MiningContext:
    config = MiningConfig(str(store.path), str(folder / "pairs"), ((strategy, 1.0),), sets=wanted, **choices)
    return MiningContext(config, strategy, wanted, str(folder / "work" / strategy))


def propose(store: EmbeddingStore, folder: Path, strategy: str, wanted: int = 30, **choices: Any) -> Candidates:
    ctx = mining_context(store, folder, strategy, wanted, **choices)
    return get_strategy(strategy)(ctx, in_process(ctx))
