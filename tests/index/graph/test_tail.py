"""Rows that were added after the index was built are found by every search, and merged with what the graphs find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import Halves, build, clustered, exact_ids, grow, vector_store
from tests.retrieval.stores import forget

INDEXED, ROWS = 1_500, 1_900


@pytest.fixture(scope="module")
def vectors() -> tuple[Halves, Halves]:
    return clustered(ROWS)


@pytest.fixture(params=["fp16", "sq8"])
def store(request: pytest.FixtureRequest, tmp_path: Path, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    """Indexed in two shards of 800 and 700 rows, then grown by a part of 250 rows and one of 150."""
    image, text = vectors
    store = vector_store(tmp_path, image[:INDEXED], text[:INDEXED])
    build(IndexConfig(str(store.path), "image", codec=request.param, shard_rows=800, queries=20))
    store = grow(store, image[INDEXED:1_750], text[INDEXED:1_750])
    return grow(store, image[1_750:], text[1_750:])


def test_a_grown_store_answers_over_all_its_rows(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    index, queries = open_index(store, "image"), vectors[1][-300:].astype(np.float32)
    assert index.tail_rows == 400
    scores, rows = index.search(queries, 10, 500)
    assert (rows == exact_ids(vectors[0], queries, 10)).mean() > 0.98
    assert (rows >= INDEXED).any()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.array_equal(index.search(queries[:1], 10, 500)[1], rows[:1])


def test_rows_of_the_tail_have_neighbours_too(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    own = np.array([3, 1_499, 1_500, 1_899])
    rows = open_index(store, "image").search_rows(own, 10, 500)[1]
    assert (rows == exact_ids(vectors[0], vectors[0][own].astype(np.float32), 11)[:, 1:]).mean() > 0.9


def test_forgotten_and_excluded_rows_of_the_tail_are_not_returned(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    index, queries = open_index(store, "image"), vectors[1][-50:].astype(np.float32)
    best = exact_ids(vectors[0], queries, 2)
    forget(store, np.unique(best[:, 0]).tolist())
    rows = index.search(queries, 10, exclude=best[:, 1])[1]
    assert not np.isin(rows, best).any()
    compact_store(str(store.path))
    again = open_index(EmbeddingStore.open(store.path), "image")
    assert np.array_equal(again.search(queries, 10, exclude=best[:, 1])[1], rows)


def test_the_tail_belongs_to_the_last_shard(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    first, last = (open_index(store, "image", shards=[number]) for number in (0, 1))
    assert (first.tail_rows, last.tail_rows) == (0, 400)
    query = vectors[0][-1:].astype(np.float32)
    assert first.search(query, 800)[1].max() < 800
    assert last.search(query, 1)[1].tolist() == [[ROWS - 1]]
    both = np.concatenate([index.search(query, 10, 500)[1] for index in (first, last)], axis=1)
    assert np.isin(open_index(store, "image").search(query, 10, 500)[1], both).all()


def test_more_rows_are_asked_for_than_there_are(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    scores, rows = open_index(store, "image").search(vectors[1][:2].astype(np.float32), ROWS + 50, ROWS)
    assert (rows[:, -50:] == -1).all()
    assert np.isneginf(scores[:, -50:]).all()
    assert all(len(np.unique(line[line >= 0])) == (line >= 0).sum() for line in rows)
