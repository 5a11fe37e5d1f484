"""`random`, the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.select.assemble import padded
from tests.mining.mines import propose


def test_every_row_is_as_likely_as_any_other_and_no_pair_comes_twice(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "random", wanted=3_000)
    rows = padded(found.table["rows"])
    assert len(np.unique(rows, axis=0)) == len(rows)
    counts = np.bincount(rows.ravel(), minlength=240)
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.5 * counts.mean()
    assert set(found.table["level"].to_pylist()) == {0}


def test_another_seed_draws_other_pairs(world: EmbeddingStore, tmp_path: Path) -> None:
    first = propose(world, tmp_path, "random").table["rows"].to_pylist()
    assert first == propose(world, tmp_path, "random").table["rows"].to_pylist()
    assert first != propose(world, tmp_path, "random", seed=1).table["rows"].to_pylist()
