"""A shard answers in row ids of the store, whatever its first row and the rows without a node of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.graph.copies import Copies
from index.graph.hnsw import HnswSpec, build_graph
from index.graph.members import Crowds
from index.graph.shard import Shard, drop_own_row
from tests.retrieval.stores import make_store, random_unit


def test_nodes_are_told_as_rows_of_the_store(tmp_path: Path) -> None:
    vectors = random_unit(60, seed=4)
    graph = build_graph([vectors[[0, 2, 3, *range(5, 60)]]], vectors[:1], HnswSpec(M=8, ef_construction=40))
    none = np.empty(0, np.int64)
    crowds = Crowds(
        make_store(tmp_path, vectors, images=[b""] * 60),
        "image",
        1_000,
        none,
        none,
        lambda leaders: vectors[leaders].astype(np.float32),
    )
    shard = Shard(graph, 1_000, 60, np.array([1, 4]), Copies(none, none), crowds)
    scores, nodes = np.zeros((1, 5), np.float32), np.array([[0, 1, 2, 3, -1]])
    assert shard.row_ids(shard.positions(scores, nodes)).tolist() == [[1_000, 1_002, 1_003, 1_005, -1]]
    assert scores.tolist() == [[0, 0, 0, 0, -np.inf]]
    _, rows = shard.search(vectors.astype(np.float32), 1, 60)
    alone = np.delete(np.arange(60), [1, 4])
    assert rows[alone, 0].tolist() == (1_000 + alone).tolist()


def test_the_query_s_own_row_is_dropped_wherever_it_stands() -> None:
    scores = np.array([[3, 2, 1], [3, 2, 1], [3, 2, 1]], np.float32)
    ids = np.array([[7, 8, 9], [8, 7, 9], [4, 5, 6]])
    kept_scores, kept = drop_own_row(scores, ids, np.array([7, 7, 7]))
    assert kept.tolist() == [[8, 9], [8, 9], [4, 5]]
    assert kept_scores.tolist() == [[2, 1], [3, 1], [3, 2]]


def test_rows_that_cannot_be_found_are_no_unwanted_rows(tmp_path: Path) -> None:
    vectors = random_unit(6, seed=4)
    none = np.empty(0, np.int64)
    crowds = Crowds(
        make_store(tmp_path, vectors, images=[b""] * 6),
        "image",
        10,
        np.array([2]),
        np.array([3]),
        lambda leaders: vectors[leaders].astype(np.float32),
    )
    shard = Shard(
        build_graph([vectors[[0, 2]]], vectors[:1], HnswSpec(M=8)),
        10,
        6,
        np.array([1, 3, 4, 5]),
        Copies(np.array([0]), np.array([4])),
        crowds,
    )
    assert shard.indexed == 4
    assert shard.unwanted(np.array([9, 11, 15, 16])) is None
    assert shard.unwanted(none) is None
    found = shard.unwanted(np.array([10, 11, 13, 14, 15]))
    assert found is not None
    assert (found.positions.tolist(), found.copies.tolist()) == ([0, 3, 4], [0])
