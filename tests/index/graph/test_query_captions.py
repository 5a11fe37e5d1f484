"""Recall is measured with captions of every 8th row, and links are fitted to the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.graph import query_captions
from index.graph.build import IndexConfig, plan_index_items
from index.graph.listed_rows import ListedRows
from index.graph.query_captions import caption_rules, fitted_captions, has_query_links, query_step
from index.graph.recall import sample_queries
from index.graph.search_index import open_index
from tests.index.graph.test_crowds import world
from tests.index.vectors import build, clustered, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(autouse=True)
def least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_captions, "_LEAST_ROWS", 200)


def test_captions_of_every_8th_row_are_asked_and_the_others_fitted(tmp_path: Path) -> None:
    images, captions = clustered(500)
    store = vector_store(tmp_path, images, captions)
    forget(store, [121])
    blocks = list(fitted_captions(store, 100, np.arange(100, 400), 77))  # blocks that start at any row
    rows = np.array([row for row in range(100, 400) if row % 8 and row != 121])
    assert np.array_equal(np.concatenate(blocks), captions[rows].astype(np.float32))
    listed = np.array([5, 8, 121, 122, 300, 496])
    (some,) = fitted_captions(ListedRows(store, listed), 0, listed, 77)
    assert np.array_equal(some, captions[[5, 122, 300]].astype(np.float32))
    step = query_step(store, "text", "image")
    asked, _ = sample_queries(store, "text", 50, 1, step)
    assert len(asked) == 50
    assert not (asked % 8).any()


def test_only_image_shards_of_enough_rows_with_captions_have_such_links(tmp_path: Path) -> None:
    images, captions = clustered(500)
    with_texts, without = vector_store(tmp_path / "a", images, captions), vector_store(tmp_path / "b", images)
    assert has_query_links(with_texts, "image", 200)
    assert not has_query_links(with_texts, "image", 199)
    assert not has_query_links(with_texts, "text", 500)
    assert not has_query_links(without, "image", 500)
    assert caption_rules(with_texts, "text", 500) == []
    assert (query_step(with_texts, "text", "text"), query_step(without, "image", "image")) == (1, 1)


def test_the_captions_are_part_of_what_decides_a_shard(tmp_path: Path) -> None:
    images, captions = clustered(500)
    stores = [vector_store(tmp_path / "a", images, captions), vector_store(tmp_path / "b", images, captions[::-1])]
    recipes = [
        [item.recipe for item in plan_index_items(IndexConfig(str(store.path), shard_rows=rows))]
        for store in stores
        for rows in (300, 100)
    ]
    assert recipes[0][0] != recipes[2][0]
    assert recipes[0][1] != recipes[2][1]
    assert recipes[1] == recipes[3]  # small shards do not use captions


def test_a_fitted_index_meets_its_contract_beside_crowds_and_for_captions_it_has_not_seen(tmp_path: Path) -> None:
    images, _ = world({0.02: 600, 0.2: 300})
    rng = np.random.default_rng(0)
    wide = images + rng.normal(scale=0.12, size=images.shape) + rng.normal(scale=0.1, size=images.shape[1])
    captions = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    store = vector_store(tmp_path, images, captions)
    contract = build(IndexConfig(str(store.path), queries=100)).recall
    assert contract.met
    assert contract.recall_at_10 >= 0.95
    (crowds,) = contract.strata
    assert crowds.name == "beside crowds of near-copies"
    assert max(crowds.recall_at_10) >= 0.95
    queries = captions[::8].astype(np.float32)
    scores, _ = open_index(store, "image").search(queries, 10)
    truth = -np.sort(-(queries @ images.astype(np.float32).T), axis=1)[:, :10]
    assert float(np.mean(scores >= truth[:, -1:] - 2e-5)) >= 0.95
