"""Recall is measured against exact search, and efSearch is chosen to meet what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph.build import IndexConfig
from index.graph.recall import _choose, measure_recall, recall_at, sample_queries
from index.graph.recall_contract import CurvePoint
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from tests.index.graph.test_crowds import world
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


def test_queries_are_found_where_few_rows_have_a_caption(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    text = vectors[1].copy()
    text[np.arange(len(text)) % 100 != 7] = 0
    store = vector_store(tmp_path, vectors[0], text)
    rows, found = sample_queries(store, "text", 10, 0)
    assert len(rows) == 10
    assert (rows % 100 == 7).all()
    assert np.array_equal(found, text[rows].astype(np.float32))


def test_a_caption_that_many_rows_have_is_asked_once(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    text = vectors[1].copy()
    text[: len(text) * 3 // 4] = text[0]
    store = vector_store(tmp_path, vectors[0], text)
    rows, found = sample_queries(store, "text", 200, 0)
    assert len(rows) == len(np.unique(found, axis=0)) == 200
    assert (rows < len(text) * 3 // 4).sum() <= 1


def test_where_no_row_has_a_caption_that_can_be_asked_images_ask(
    tmp_path: Path, vectors: tuple[Halves, Halves]
) -> None:
    store = vector_store(tmp_path, vectors[0], np.zeros_like(vectors[1]))
    contract = build(IndexConfig(str(store.path), queries=50)).recall
    assert (contract.query_modality, contract.queries) == ("image", 50)


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


def test_queries_beside_a_crowd_and_beside_forgotten_rows_have_their_own_figures(tmp_path: Path) -> None:
    vectors, kind = world({0.02: 600, 0.2: 300})
    store = vector_store(tmp_path, vectors)
    config = IndexConfig(str(store.path), queries=100)
    contract = build(config).recall
    (crowds,) = contract.strata
    assert (crowds.name, crowds.queries, len(crowds.recall_at_10)) == (
        "beside crowds of near-copies",
        20,
        len(contract.curve),
    )
    assert contract.forgotten == 0
    forget(store, np.flatnonzero(kind == -1)[:300].tolist())
    assert contract.sentence(300).endswith("; measured before 300 more rows were forgotten")
    again = measure_recall(open_index(EmbeddingStore.open(store.path), "image"), recall=0.95, queries=100, seed=0)
    assert [stratum.name for stratum in again.strata] == ["beside crowds of near-copies", "beside forgotten rows"]
    assert again.forgotten == 300
    assert again.least_recall_at_10 >= 0.95


def test_hard_queries_raise_ef_search_to_four_times_at_most() -> None:
    curve = [CurvePoint(ef, share, 1.0) for ef, share in ((16, 0.9), (32, 0.96), (64, 0.97), (128, 0.98), (256, 0.99))]
    cases: tuple[tuple[list[list[float]], int], ...] = (
        ([[], [], [], [], []], 32),
        ([[0.5], [0.96], [0.9], [1.0], [1.0]], 32),
        ([[0.5], [0.8], [0.9], [0.95], [1.0]], 128),
        ([[0.5, 1.0], [0.8, 1.0], [0.95, 0.94], [1.0, 0.94], [1.0, 1.0]], 32),
    )
    for hard, chosen in cases:
        assert _choose(curve, hard, 0.95).ef_search == chosen
    assert _choose(curve, [[1.0]] * 5, 1.0).ef_search == 256
