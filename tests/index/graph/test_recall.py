"""Recall is measured against exact search, and efSearch is chosen to meet what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.build import IndexConfig
from index.graph.recall import recall_at, sample_queries
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import Halves, build, clustered, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(scope="module")
def vectors() -> tuple[Halves, Halves]:
    return clustered(2_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    return vector_store(tmp_path_factory.mktemp("recall"), *vectors)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_least_ef_search_that_meets_the_contract_is_chosen(store: EmbeddingStore, modality: str) -> None:
    contract = build(IndexConfig(str(store.path), modality, recall=0.97, queries=100)).recall  # type: ignore[arg-type]
    assert contract.met
    assert contract.recall_at_10 >= 0.97
    assert all(point.recall_at_10 < 0.97 for point in contract.curve if point.ef_search < contract.ef_search)
    assert (contract.query_modality, contract.queries, contract.neighbours) == ("text", 100, (10, 100))
    assert "on 100 captions against exact search (asked 0.97)" in contract.sentence()
    shares = [point.recall_at_100 for point in contract.curve]
    assert shares == sorted(shares)


def test_a_recall_that_no_ef_search_reaches_is_said(tmp_path: Path) -> None:
    image, text = clustered(3_000, clusters=3_000)
    store = vector_store(tmp_path, image, text)
    config = IndexConfig(str(store.path), M=4, ef_construction=4, recall=1.0, queries=100)
    contract = build(config).recall
    assert not contract.met
    assert contract.recall_at_10 == max(point.recall_at_10 for point in contract.curve) < 1
    assert "no efSearch measured reaches it" in contract.sentence()


def test_without_captions_the_contract_says_that_it_was_asked_with_images(
    tmp_path: Path, vectors: tuple[Halves, Halves]
) -> None:
    store = vector_store(tmp_path, vectors[0])
    contract = build(IndexConfig(str(store.path), queries=50)).recall
    assert contract.query_modality == "image"
    assert "this says nothing about text queries" in contract.sentence()


def test_a_store_smaller_than_100_counts_the_rows_it_has(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, vectors[0][:30], vectors[1][:30])
    image, text = (build(IndexConfig(str(store.path), modality)).recall for modality in ("image", "text"))
    assert (image.neighbours, text.neighbours) == ((10, 30), (10, 29))
    assert image.curve[-1].recall_at_100 == 1


def test_a_store_of_one_row_has_an_index(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, vectors[0][:1], vectors[1][:1], parts=1)
    assert build(IndexConfig(str(store.path), "text")).recall.met


def test_queries_are_sampled_by_seed_without_forgotten_rows(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, *vectors)
    rows, queries = sample_queries(store, "text", 300, seed=1)
    assert len(np.unique(rows)) == 300
    assert np.array_equal(queries, vectors[1][rows].astype(np.float32))
    assert np.array_equal(rows, sample_queries(store, "text", 300, seed=1)[0])
    assert not np.array_equal(rows, sample_queries(store, "text", 300, seed=2)[0])
    forget(store, rows[:50].tolist())
    assert not np.isin(sample_queries(store, "text", 300, seed=1)[0], rows[:50]).any()


def test_a_tie_with_the_last_exact_score_is_a_hit() -> None:
    truth = np.array([[0.9, 0.8, 0.5, 0.5]], np.float32)
    assert recall_at(truth, np.array([[0.9, 0.8, 0.5]], np.float32), 3) == 1
    assert recall_at(truth, np.array([[0.9, 0.5, 0.4]], np.float32), 3) == pytest.approx(2 / 3)
    assert recall_at(truth, np.array([[0.9, -np.inf, -np.inf]], np.float32), 3) == pytest.approx(1 / 3)


def test_rows_that_the_store_does_not_have_do_not_count() -> None:
    truth = np.array([[0.9, -np.inf], [-np.inf, -np.inf]], np.float32)
    assert recall_at(truth, np.array([[0.9, -np.inf], [-np.inf, -np.inf]], np.float32), 2) == 1
