"""Cosines of pairs and of sets, against the definition; sets with two equal files."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from mining.strategies.neighbors import similarity
from mining.strategies.neighbors.similarity import same_bytes, set_similarity, similarities
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget, make_store, random_unit


def test_the_cosine_of_a_pair_is_the_inner_product_of_its_unit_vectors(world: EmbeddingStore) -> None:
    pairs = np.random.default_rng(0).integers(0, world.rows, (500, 2))
    vectors = world.gather("text", np.arange(world.rows)).astype(np.float64)
    expected = (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)
    np.testing.assert_allclose(similarities(world, "text", pairs), expected, atol=1e-5)


def test_a_pair_has_the_same_cosine_alone_as_among_others(
    world: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, as files of a strategy must not depend on how its work is cut."""
    pairs = np.random.default_rng(1).integers(0, world.rows, (100, 2))
    together = similarities(world, "image", pairs)
    monkeypatch.setattr(similarity, "_PAIRS", 7)
    assert similarities(world, "image", pairs).tolist() == together.tolist()


def test_mean_and_largest_cosine_are_over_the_pairs_of_a_set(world: EmbeddingStore) -> None:
    sets = np.array([[0, 6, 12], [238, 239, -1], [5, 90, 7]])
    mean, largest = set_similarity(world, "image", sets)
    vectors = world.gather("image", np.arange(world.rows)).astype(np.float64)
    for place, rows in enumerate(sets.tolist()):
        cosines = [float(vectors[a] @ vectors[b]) for a, b in combinations([row for row in rows if row >= 0], 2)]
        assert mean[place] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert largest[place] == pytest.approx(max(cosines), abs=1e-5)


def test_a_member_without_a_vector_makes_the_similarity_unknown(tmp_path: Path) -> None:
    vectors = random_unit(4)
    vectors[2] = 0
    mean, largest = set_similarity(make_store(tmp_path, vectors), "image", np.array([[0, 1], [1, 2], [2, -1]]))
    assert np.isfinite(mean).tolist() == np.isfinite(largest).tolist() == [True, False, False]


def test_sets_with_two_equal_files_are_found_and_unknown_hashes_are_not_equal(tmp_path: Path) -> None:
    hashes = [f"{row:064x}" for row in range(12)]
    store = mining_store(tmp_path, rows=12, sha256=[*hashes[:9], None, hashes[0], None])
    sets = np.array([[0, 10], [0, 1], [9, 11], [4, 10], [0, 1]])
    sets = np.column_stack([sets, [-1, 10, -1, 0, -1]])
    likely = np.full(len(sets), 1.0, np.float32)
    assert same_bytes(store, sets, likely).tolist() == [True, True, False, True, False]
    assert not same_bytes(store, sets, np.full(len(sets), 0.9, np.float32)).any()  # such cosines rule it out
    forget(store, [10])
    assert not same_bytes(EmbeddingStore.open(store.path), sets, likely).any()  # a forgotten row has no hash
