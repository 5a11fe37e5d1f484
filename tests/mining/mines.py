"""One strategy run here, item after item, for the tests of the strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import Candidates, MiningConfig, MiningContext, in_process
from mining.strategies.registry import get_strategy


def mining_of(store: EmbeddingStore, folder: Path, strategy: str, wanted: int = 30, **choices: Any) -> MiningContext:
    config = MiningConfig(str(store.path), str(folder / "pairs"), ((strategy, 1.0),), sets=wanted, **choices)
    return MiningContext(config, strategy, wanted, str(folder / "work" / strategy))


def propose(store: EmbeddingStore, folder: Path, strategy: str, wanted: int = 30, **choices: Any) -> Candidates:
    ctx = mining_of(store, folder, strategy, wanted, **choices)
    return get_strategy(strategy)(ctx, in_process(ctx))
