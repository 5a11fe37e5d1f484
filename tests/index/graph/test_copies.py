"""Rows with the same vector share a node: every row is still found, and many copies do not hide other rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.copies import Copies, find_copies, hash_vectors
from index.graph.exact import exact_top_k
from index.graph.search_index import HnswIndex, open_index
from index.graph.unwanted import Unwanted
from index.store.embedding_store import EmbeddingStore
from tests.retrieval.stores import forget, make_store, random_unit, unit


def indexed(store: EmbeddingStore, shard_rows: int | None = None) -> HnswIndex:
    config = IndexConfig(str(store.path), "image", M=8, ef_construction=16, queries=20, shard_rows=shard_rows)
    for item in plan_index_items(config):
        build_index_item(item, config)
    finish_index(config)
    return open_index(store, "image")


def exact(store: EmbeddingStore, queries: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(exact_top_k(store.blocks("image"), queries, k)[0])


@pytest.fixture
def crowded(tmp_path: Path) -> EmbeddingStore:
    """400 rows: 40 vectors, one of which 150 rows have and another 100; a zero row among them."""
    rng = np.random.default_rng(3)
    kinds = random_unit(40, seed=5)
    which = np.concatenate([np.zeros(150, int), np.ones(100, int), rng.integers(2, 40, 149)])
    vectors = np.concatenate([kinds[rng.permutation(which)], np.zeros((1, 8), np.float16)])
    return make_store(tmp_path, vectors)


@pytest.mark.parametrize("shard_rows", [None, 130])
def test_every_row_is_found_with_its_score(crowded: EmbeddingStore, shard_rows: int | None) -> None:
    index = indexed(crowded, shard_rows)
    assert sum(graph.ntotal for graph in index.graphs) < 150
    queries = random_unit(30, seed=9).astype(np.float32)
    scores, rows = index.search(queries, 300, 400)
    assert np.allclose(scores, exact(crowded, queries, 300), atol=1e-3)
    assert all(len(set(line.tolist())) == 300 for line in rows)
    own = crowded.gather("image", rows.ravel()).astype(np.float32).reshape(*rows.shape, -1)
    assert np.allclose(np.einsum("qd,qkd->qk", queries, own), scores, atol=1e-3)


def test_a_crowd_of_copies_does_not_fill_the_beam(tmp_path: Path) -> None:
    """Two crowds apart, one rare vector near the query: a walk that starts in a crowd must leave it."""
    far, near = unit([[1, 0.1, 0, 0, 0, 0, 0, 0]]), unit([[0.2, 1, 0, 0, 0, 0, 0, 0]])
    vectors = np.concatenate([np.repeat(far, 600, 0), random_unit(60, seed=1), near])
    index = indexed(make_store(tmp_path, vectors))
    scores, rows = index.search(near.astype(np.float32), 10, 16)
    assert rows[0, 0] == 660
    assert np.allclose(scores, exact(index.store, near.astype(np.float32), 10), atol=1e-3)


def test_forgotten_and_excluded_rows_are_not_given_as_copies(crowded: EmbeddingStore) -> None:
    index = indexed(crowded)
    query = crowded.gather("image", [0]).astype(np.float32)
    _, rows = index.search(query, 100, 400)
    gone = rows[0, :60].tolist()  # the node's own row among them
    _, without = index.search(query, 100, 400, exclude=np.array(sorted(gone)))
    assert not set(without[0].tolist()) & set(gone)
    forget(crowded, gone)
    scores, left = index.search(query, 100, 400)
    assert not set(left[0].tolist()) & set(gone)
    assert len(set(left[0].tolist())) == 100
    assert np.array_equal(np.sort(left), np.sort(without))
    wanted = np.sort(crowded.gather("image", np.arange(400)).astype(np.float32) @ query[0])[::-1][:100]
    assert np.allclose(scores[0], wanted, atol=1e-3)


def test_the_summary_counts_copies_as_rows_that_can_be_found(crowded: EmbeddingStore) -> None:
    indexed(crowded)
    summary = finish_index(IndexConfig(str(crowded.path), "image", M=8, ef_construction=16, queries=20))
    assert (summary.rows, summary.indexed, summary.skipped) == (400, 399, 1)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    usable=st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_the_first_usable_row_stands_for_its_copies(kinds: list[int], usable: list[bool]) -> None:
    vectors = random_unit(6)[kinds]
    good = np.array(usable[: len(kinds)])
    found = find_copies(hash_vectors(vectors), good)
    for place, kind in enumerate(kinds):
        same = [other for other in range(len(kinds)) if kinds[other] == kind and good[other]]
        assert found[place] == (same[0] if good[place] else place)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    unwanted=st.sets(st.integers(0, 60)),
    seed=st.integers(0, 99),
    k=st.integers(1, 30),
)
def test_expanding_is_what_a_loop_would_do(counts: list[int], unwanted: set[int], seed: int, k: int) -> None:
    positions, shared, place = [], [], 0
    for count in counts:
        positions.append(place)
        shared += [(place, place + 1 + copy) for copy in range(count)]
        place += 1 + count
    table = np.array(shared, np.int64).reshape(-1, 2)
    copies = Copies(table[:, 0], table[:, 1])
    gone = np.array(sorted(row for row in unwanted if row < place), np.int64)
    dropped = Unwanted(gone, copies.places(gone))
    owners = [positions[number] for number in np.random.default_rng(seed).permutation(len(counts))]
    rows = [[row for row in (own, *(to for by, to in shared if by == own)) if row not in unwanted] for own in owners]
    asked, steps = np.array([[*owners, -1]], np.int64), -np.arange(len(owners) + 1, dtype=np.float32)[None]
    assert copies.sizes(asked, dropped).tolist() == [[*map(len, rows), 0]]
    every = [(row, -place) for place, some in enumerate(rows) for row in some]
    expected = [*every[:k], *[(-1, -np.inf)] * (k - len(every))]
    scores, found = copies.expand(steps, asked, k, dropped)
    assert list(zip(found[0].tolist(), scores[0].tolist(), strict=True)) == expected
