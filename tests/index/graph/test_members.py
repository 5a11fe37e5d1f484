"""A crowd of nearly equal rows hides no others, and each of its rows is found with its own score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from index.graph.build import IndexConfig
from index.graph.exact import exact_top_k
from index.graph.recall import recall_at
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore
from tests.index.graph.test_crowds import world
from tests.index.vectors import build, vector_store
from tests.retrieval.stores import forget

Bools = npt.NDArray[np.bool_]


def indexed(folder: Path, shard_rows: int | None = None, codec: str = "fp16") -> tuple[HnswIndex, Bools]:
    """5,000 rows: one crowd of 1,500 and one of 300, with ten copies of one of its rows; and which rows are in one."""
    vectors, kind = world({0.1: 1_500, 0.02: 300}, rest=3_200)
    small = np.flatnonzero(kind == 1)
    vectors[small[1:11]] = vectors[small[0]]
    store = vector_store(folder, vectors)
    build(IndexConfig(str(store.path), shard_rows=shard_rows, codec=codec, queries=100))
    return open_index(store, "image"), kind >= 0


def leaning(store: EmbeddingStore, crowded: Bools, lean: float) -> npt.NDArray[np.float32]:
    """200 rows outside the crowds, each moved towards a row of one."""
    rng = np.random.default_rng(5)
    outside, inside = (rng.choice(np.flatnonzero(of), 200) for of in (~crowded, crowded))
    queries = store.gather("image", outside).astype(np.float32) + lean * store.gather("image", inside)
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def recall(index: HnswIndex, queries: npt.NDArray[np.float32], k: int, ef_search: int) -> float:
    truth, _ = exact_top_k(index.store.blocks("image"), queries, k)
    scores, rows = index.search(queries, k, ef_search)
    assert all(len(set(line)) == k for line in rows.tolist())
    return recall_at(truth, scores, k)


@pytest.mark.parametrize(("shard_rows", "codec"), [(None, "fp16"), (None, "sq8"), (1_700, "fp16")])
def test_queries_near_a_crowd_find_the_rows_outside_it(tmp_path: Path, shard_rows: int | None, codec: str) -> None:
    index, crowded = indexed(tmp_path, shard_rows, codec)
    for lean in (0.15, 0.5, 0.8):
        assert recall(index, leaning(index.store, crowded, lean), 10, 48) >= 0.95
    inside = index.store.gather("image", np.flatnonzero(crowded)[::20]).astype(np.float32)
    assert recall(index, inside, 10, 48) >= 0.99
    assert recall(index, inside, 100, 100) >= 0.99


def test_rows_of_a_crowd_have_their_own_scores_whatever_is_asked_beside(tmp_path: Path) -> None:
    index, crowded = indexed(tmp_path)
    queries = leaning(index.store, crowded, 0.9)[:40]
    scores, rows = index.search(queries, 30, 48)
    assert np.isin(rows, np.flatnonzero(crowded)).any()
    own = index.store.gather("image", rows.ravel()).astype(np.float32).reshape(*rows.shape, -1)
    assert np.abs(np.einsum("qd,qkd->qk", queries, own) - scores).max() < 1e-6
    for number, query in enumerate(queries):
        alone_scores, alone = index.search(query[None], 30, 48)
        assert np.array_equal(alone[0], rows[number])
        assert np.array_equal(alone_scores[0], scores[number])


def test_a_row_of_a_crowd_finds_the_others_and_its_copies(tmp_path: Path) -> None:
    index, crowded = indexed(tmp_path)
    copies = next(shard.copies for shard in index._shards.shards)
    assert len(copies) == 10
    own = int(copies.owners[0])
    rows = index.search_rows(np.array([own, int(copies.positions[3])]), 10, 16)[1]
    assert set(rows[0].tolist()) == set(copies.positions.tolist())
    assert set(rows[1].tolist()) == {own, *copies.positions.tolist()} - {int(copies.positions[3])}
    some = np.flatnonzero(crowded)[::50]
    truth, _ = exact_top_k(index.store.blocks("image"), index.store.gather("image", some).astype(np.float32), 11)
    scores, rows = index.search_rows(some, 10, 48)
    assert recall_at(truth[:, 1:], scores, 10) >= 0.99
    assert not (rows == some[:, None]).any()


@pytest.mark.parametrize("half", [0, 1])
def test_forgotten_rows_of_a_crowd_are_not_found_and_the_others_are(tmp_path: Path, half: int) -> None:
    index, crowded = indexed(tmp_path)
    shard = index._shards.shards[0]
    gone = np.unique(np.concatenate([np.flatnonzero(crowded)[half::2], shard.crowds.nodes, shard.copies.owners]))
    inside = index.store.gather("image", np.flatnonzero(crowded)[::20]).astype(np.float32)
    outside = leaning(index.store, crowded, 0.15)
    forget(index.store, gone.tolist())
    for queries, k in ((inside, 10), (inside, 100), (outside, 10)):
        truth, _ = exact_top_k(index.store.blocks("image"), queries, k)
        scores, rows = index.search(queries, k, 48)
        assert recall_at(truth, scores, k) >= 0.95
        assert not np.isin(rows, gone).any()


def test_a_forgotten_crowd_hides_nothing(tmp_path: Path) -> None:
    index, crowded = indexed(tmp_path)
    inside = index.store.gather("image", np.flatnonzero(crowded)[::20]).astype(np.float32)
    forget(index.store, np.flatnonzero(crowded).tolist())
    truth, _ = exact_top_k(index.store.blocks("image"), inside, 10)
    scores, rows = index.search(inside, 10, 48)
    assert recall_at(truth, scores, 10) >= 0.95
    assert not crowded[rows].any()
