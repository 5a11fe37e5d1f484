"""A list of rows reads as a store whose row ids are positions in the list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.listed_rows import ListedRows, listed_places
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import clustered, vector_store
from tests.retrieval.stores import forget


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return vector_store(tmp_path, *clustered(300))


def test_vectors_are_those_of_the_listed_rows(store: EmbeddingStore, tmp_path: Path) -> None:
    listed = np.array([3, 50, 99, 100, 250, 299], np.uint32)
    view = ListedRows(store, listed)
    expected = store.gather("image", listed.astype(np.int64))
    assert view.rows == 6
    assert np.array_equal(view.gather("image", np.array([5, 0])), expected[[5, 0]])
    blocks = list(view.blocks("image", 4, 1))
    assert [first for first, _ in blocks] == [1, 5]
    assert np.array_equal(np.concatenate([vectors for _, vectors in blocks]), expected[1:])
    view.copy_to(tmp_path / "copy.npy", "image")
    forget(store, [50])
    assert np.array_equal(view.gather("image", np.arange(6)), expected)  # as they were when they were copied
    assert np.array_equal(view.gather("text", np.arange(6))[0], store.gather("text", [3])[0])


def test_forgotten_rows_are_positions_until_more_are_forgotten(store: EmbeddingStore) -> None:
    view = ListedRows(store, np.array([3, 50, 99, 250], np.uint32))
    assert view.forgotten.tolist() == []
    forget(store, [50, 51, 299])
    assert view.forgotten.tolist() == [1]
    assert not view.gather("image", np.array([1])).any()
    forget(store, [3])
    assert view.forgotten.tolist() == [0, 1]
    assert view.row_ids(np.array([[0, -1], [3, 2]])).tolist() == [[3, -1], [250, 99]]


def test_places_of_rows_that_are_listed() -> None:
    listed = np.array([2, 4, 8], np.uint32)
    assert listed_places(listed, np.array([0, 2, 3, 8, 1 << 40])).tolist() == [0, 2]
    assert listed_places(listed[:0], np.array([1])).tolist() == []
    assert listed_places(listed, np.array([], np.int64)).tolist() == []
    assert ListedRows.row_ids(object.__new__(_Empty), np.array([-1])).tolist() == [-1]


class _Empty(ListedRows):
    listed = np.empty(0, np.uint32)
