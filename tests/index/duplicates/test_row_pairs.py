"""Near-duplicates of some rows: the same by comparing all as by the index, with every codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import index.duplicates.row_pairs as module
from index.duplicates.components import spanning_edges
from index.duplicates.row_pairs import edges_of_rows
from index.errors import StoreInvalid
from index.graph.build import IndexConfig
from tests.index.duplicates.worlds import groups_of, with_copies
from tests.index.vectors import build, vector_store

ROWS = 1_500


def column(edges: np.ndarray, rows: int = ROWS) -> list[int]:
    """The groups that edges tell."""
    group = np.arange(rows)
    group[edges[:, 0]] = edges[:, 1]
    return group.tolist()


def test_a_small_store_is_compared_exactly_and_needs_no_index(tmp_path: Path) -> None:
    vectors = with_copies(ROWS, 300)
    store = vector_store(tmp_path / "store", vectors)
    assert column(edges_of_rows(store, 0, ROWS, ROWS, 0.94)) == groups_of(vectors).tolist()


def test_rows_of_two_ranges_find_what_all_find_together(tmp_path: Path) -> None:
    vectors = with_copies(ROWS, 300)
    store = vector_store(tmp_path / "store", vectors)
    halves = [edges_of_rows(store, 0, 1_000, 1_000, 0.94), edges_of_rows(store, 1_000, ROWS, ROWS, 0.94)]
    assert column(spanning_edges(np.concatenate(halves))) == groups_of(vectors).tolist()


@pytest.mark.parametrize("codec", ["fp16", "sq8", "sq4", "rabitq"])
def test_the_index_finds_the_groups_that_comparing_all_finds(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALL_PAIRS", 10)
    vectors = with_copies(ROWS, 300)
    vectors[7] = np.nan
    vectors[8] = 0
    store = vector_store(tmp_path / "store", vectors)
    build(IndexConfig(str(store.path), codec=codec, shard_rows=600))
    vectors[7] = 0
    found = np.array(column(edges_of_rows(store, 0, ROWS, ROWS, 0.94)))
    assert (found == groups_of(vectors)).mean() > 0.99


def test_more_near_duplicates_than_candidates_are_still_one_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALL_PAIRS", 10)
    vectors = with_copies(800, 0)
    crowd = vectors[0] + 0.01 * np.random.default_rng(1).normal(size=(400, 32))
    vectors[100:500] = crowd / np.linalg.norm(crowd, axis=1, keepdims=True)
    store = vector_store(tmp_path / "store", vectors)
    build(IndexConfig(str(store.path)))
    found = np.array(column(edges_of_rows(store, 0, 800, 800, 0.94), 800))
    assert set(found[100:500].tolist()) == {0}


def test_a_large_store_without_an_index_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_PAIRS", 10)
    store = vector_store(tmp_path / "store", with_copies(100, 10))
    with pytest.raises(StoreInvalid, match="clipmine index"):
        edges_of_rows(store, 0, 100, 100, 0.94)
