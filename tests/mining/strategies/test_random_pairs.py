"""`random`, the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import padded
from mining.strategies.minable import Minable
from mining.strategies.random_pairs import draw_pairs
from tests.mining.conftest import propose
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget


def test_every_row_is_as_likely_as_any_other_and_no_pair_comes_twice(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "random", wanted=3_000)
    rows = padded(found.table["rows"])
    assert len(np.unique(rows, axis=0)) == len(rows)
    counts = np.bincount(rows.ravel(), minlength=240)
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.5 * counts.mean()
    assert set(found.table["level"].to_pylist()) == {0}


def test_no_more_is_drawn_than_images_may_be_used(tmp_path: Path) -> None:
    found = propose(mining_store(tmp_path, rows=24), tmp_path, "random", wanted=10**8, max_per_image=3)
    assert found.considered <= 4 * 24 * 3


def test_another_seed_draws_other_pairs(world: EmbeddingStore, tmp_path: Path) -> None:
    first = propose(world, tmp_path, "random").table["rows"].to_pylist()
    assert first == propose(world, tmp_path, "random").table["rows"].to_pylist()
    assert first != propose(world, tmp_path, "random", seed=1).table["rows"].to_pylist()


def test_forgotten_rows_are_never_drawn_and_the_smaller_row_stands_first(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, range(0, 240, 2))
    pairs = draw_pairs(Minable(store), 500, np.random.default_rng(1))
    assert 50 < len(pairs) < 500
    assert (pairs % 2 == 1).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_only_rows_of_the_selection_are_drawn(world: EmbeddingStore) -> None:
    pairs = draw_pairs(Minable(world, np.array([3, 5, 9, 200])), 100, np.random.default_rng(0))
    assert set(pairs.ravel().tolist()) == {3, 5, 9, 200}
