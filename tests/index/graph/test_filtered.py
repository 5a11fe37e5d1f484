"""Forgotten and excluded rows are never returned, and the rows that are left are found as if there were no filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from index.graph import query_captions
from index.graph.build import IndexConfig
from index.graph.exact import exact_top_k
from index.graph.recall import recall_at
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import build, clustered, vector_store
from tests.retrieval.stores import forget

ROWS, ASKED = 6_000, 0.95
Ids = npt.NDArray[np.int64]


@pytest.fixture(scope="module", params=["fp16", "sq8", "three shards", "by meaning", "fitted to captions"])
def index(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> HnswIndex:
    """60 clusters of about 100 rows, and 40 rows of which each has 20 copies."""
    image, text = clustered(ROWS, clusters=60)
    image[5_000:5_800] = image[np.repeat(np.arange(40), 20)]
    store = vector_store(tmp_path_factory.mktemp("filtered"), image, text)
    shard_rows = {"three shards": 2_000, "by meaning": 750}.get(request.param)
    layout = "meaning" if request.param == "by meaning" else "rows"
    codec = "sq8" if request.param == "sq8" else "fp16"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "fitted to captions":
            patch.setattr(query_captions, "_LEAST_ROWS", ROWS)
        config = IndexConfig(str(store.path), shard_rows=shard_rows, codec=codec, queries=100, recall=ASKED)
        build(replace(config, layout=layout))
    return open_index(store, "image")


def near(store: EmbeddingStore, row: int, count: int) -> Ids:
    """The rows nearest to `row`: a cluster."""
    vector = store.gather("image", [row]).astype(np.float32)
    return np.sort(exact_top_k(store.blocks("image"), vector, count)[1][0])


def some_of_all(store: EmbeddingStore, row: int, count: int) -> Ids:
    return np.sort(np.random.default_rng(row).choice(store.rows, count, replace=False))


def in_a_row(store: EmbeddingStore, row: int, count: int) -> Ids:
    return np.arange(row, row + count)


KINDS: list[tuple[Callable[[EmbeddingStore, int, int], Ids], int]] = [
    (near, 100),
    (near, 500),
    (near, 3_000),
    (some_of_all, 60),
    (some_of_all, 3_000),
    (some_of_all, 5_950),
    (in_a_row, 1_500),
    (in_a_row, 4_000),
]


@pytest.mark.parametrize(("kind", "count"), KINDS)
@pytest.mark.parametrize("k", [10, 100])
def test_recall_holds_without_the_excluded_rows(
    index: HnswIndex, kind: Callable[[EmbeddingStore, int, int], Ids], count: int, k: int
) -> None:
    store = index.store
    gone = kind(store, 1_717, count)
    # Half of the queries lie among the excluded rows.
    chosen = np.concatenate([gone[:: max(1, count // 50)][:50], np.arange(7, 6_000, 120)])
    queries = store.gather("image", chosen).astype(np.float32)
    scores, rows = index.search(queries, k, exclude=gone)
    assert not np.isin(rows, gone).any()
    truth, _ = exact_top_k(store.blocks("image"), queries, k, excluded=gone)
    assert (np.isfinite(scores) == np.isfinite(truth)).all()
    for half in (slice(None, 50), slice(50, None)):
        assert recall_at(truth[half], scores[half], k) >= ASKED
    assert all(len(set(found)) == len(found) for found in ([row for row in line if row >= 0] for line in rows.tolist()))


def test_a_forgotten_cluster_hides_no_rows(index: HnswIndex, tmp_path: Path) -> None:
    image = index.store.gather("image", np.arange(ROWS)).copy()
    store = vector_store(tmp_path, image)
    config = IndexConfig(str(store.path), codec=index.spec.codec, queries=100, recall=ASKED)
    build(config if index.visits is None else replace(config, shard_rows=750, layout="meaning"))
    opened = open_index(store, "image")
    gone = near(store, 1_717, 500)
    queries = image[gone[::5]].astype(np.float32)
    forget(store, gone.tolist())
    truth, _ = exact_top_k(store.blocks("image"), queries, 10)
    scores, rows = opened.search(queries, 10)
    assert recall_at(truth, scores, 10) >= ASKED
    assert not np.isin(rows, gone).any()
    beside = np.setdiff1d(near(store, 1_717, 800), gone)[:60]
    scores, rows = opened.search_rows(beside, 10)
    truth, _ = exact_top_k(store.blocks("image"), image[beside].astype(np.float32), 11)
    assert recall_at(truth[:, 1:], scores, 10) >= ASKED
    assert not np.isin(rows, gone).any()


def test_an_answer_does_not_depend_on_the_batch(index: HnswIndex) -> None:
    gone = near(index.store, 1_717, 500)
    queries = index.store.gather("image", np.arange(0, 6_000, 150)).astype(np.float32)
    queries = np.concatenate([queries, index.store.gather("image", gone[:10]).astype(np.float32)])
    scores, rows = index.search(queries, 10, exclude=gone)
    for number, query in enumerate(queries):
        alone_scores, alone = index.search(query[None], 10, exclude=gone)
        assert np.array_equal(alone[0], rows[number])
        assert np.array_equal(alone_scores[0], scores[number])


def test_without_any_row_left_nothing_is_found(index: HnswIndex) -> None:
    scores, rows = index.search(index.store.gather("image", [3]), 5, exclude=np.arange(ROWS))
    assert (rows == -1).all()
    assert np.isneginf(scores).all()
    left = np.array([17, 4_400])
    rows = index.search(index.store.gather("image", [3]), 5, exclude=np.setdiff1d(np.arange(ROWS), left))[1]
    assert sorted(rows[0, :2].tolist()) == left.tolist()
    assert (rows[0, 2:] == -1).all()
