"""Hard queries are made where the index has crowds or forgotten rows, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from index.graph.strata import BESIDE_CROWDS, BESIDE_FORGOTTEN, hard_queries
from index.store.embedding_store import EmbeddingStore
from tests.index.graph.test_crowds import world
from tests.index.vectors import build, clustered, vector_store
from tests.retrieval.stores import forget


def test_ordinary_stores_have_no_hard_queries(tmp_path: Path) -> None:
    store = vector_store(tmp_path, *clustered(1_000))
    assert build(IndexConfig(str(store.path), queries=20)).recall.strata == ()


def test_queries_lean_towards_crowds_whether_or_not_these_share_a_node(tmp_path: Path) -> None:
    vectors, kind = world({0.05: 40, 0.2: 400})
    store = vector_store(tmp_path, vectors)
    build(IndexConfig(str(store.path), queries=20))
    index = open_index(store, "image")
    ((name, queries),) = hard_queries(index, 60, seed=1)
    assert name == BESIDE_CROWDS
    assert queries.shape == (60, 64)
    assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    near = (queries @ vectors.astype(np.float32).T).argmax(axis=1)
    assert (kind[near] < 0).mean() > 0.8
    centers = np.stack([vectors[kind == crowd].astype(np.float32).mean(axis=0) for crowd in (0, 1)])
    assert (queries @ centers.T > 0.1).any(axis=0).all()
    assert np.array_equal(hard_queries(index, 60, seed=1)[0][1], queries)
    assert not np.array_equal(hard_queries(index, 60, seed=2)[0][1], queries)


def test_forgotten_clusters_are_asked_for_as_long_as_the_graph_holds_them(tmp_path: Path) -> None:
    image, text = clustered(2_000)
    store = vector_store(tmp_path, image, text)
    config = IndexConfig(str(store.path), queries=50)
    build(config)
    products = image.astype(np.float32) @ image[0].astype(np.float32)
    cluster = np.argsort(-products)[:40]
    rng = np.random.default_rng(0)
    gone = np.unique(np.concatenate([cluster, rng.choice(2_000, 100, replace=False)]))
    forget(store, gone.tolist())
    index = open_index(EmbeddingStore.open(store.path), "image")
    ((name, queries),) = hard_queries(index, 40, seed=0)
    assert name == BESIDE_FORGOTTEN
    nearest = (queries @ image.astype(np.float32).T).argmax(axis=1)
    assert np.isin(nearest, gone).all()
    assert np.isin(nearest, cluster).mean() > 0.4
    assert len(hard_queries(index, 500, seed=0)[0][1]) == len(gone)
