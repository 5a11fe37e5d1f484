"""Shards get as many rows each, every row once, and cells near each other."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph.cells import on_grid
from index.graph.packing import pack_cells
from tests.retrieval.stores import random_unit


@pytest.mark.parametrize(("counts", "shards"), [([5, 0, 7, 3], 1), ([5, 0, 7, 3], 4), ([1000, 1, 1], 7), ([3], 3)])
def test_every_row_is_in_one_shard_and_sizes_are_equal(counts: list[int], shards: int) -> None:
    table = pack_cells(on_grid(random_unit(len(counts), 16)), np.array(counts), shards)
    sizes = np.bincount(table[:, 0], weights=table[:, 3] - table[:, 2], minlength=shards)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() > 0
    for cell, count in enumerate(counts):
        ranges = sorted(table[table[:, 1] == cell, 2:].tolist())
        assert [row for first, last in ranges for row in range(first, last)] == list(range(count))
    assert table[:, :2].tolist() == sorted(table[:, :2].tolist())


def test_near_cells_share_a_shard() -> None:
    rng = np.random.default_rng(3)
    corners = np.repeat(np.eye(4), 8, axis=0)  # eight cells near each of four directions
    cells = corners + 0.05 * rng.normal(size=corners.shape)
    order = rng.permutation(32)
    cells = cells[order] / np.linalg.norm(cells[order], axis=1, keepdims=True)
    table = pack_cells(on_grid(cells), np.full(32, 10), 4)
    for shard in range(4):
        assert len(np.unique(order[table[table[:, 0] == shard, 1]] // 8)) == 1


def test_equal_cells_are_cut_all_the_same() -> None:
    table = pack_cells(np.full((5, 4), 1_024, np.float32), np.array([4, 4, 4, 4, 4]), 3)
    assert np.bincount(table[:, 0], weights=table[:, 3] - table[:, 2]).tolist() == [6, 7, 7]
