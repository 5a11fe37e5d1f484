"""Cells are learned and found with whole numbers, so that batches and threads change nothing."""

from __future__ import annotations

import numpy as np

from index.graph.cells import GRID, _nearest_on, cell_count, nearest_cells, on_grid, sample_count, train_cells
from tests.index.vectors import clustered


def test_rows_of_a_cluster_share_few_cells() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 32))
    own = rng.integers(0, 10, 2_000)
    vectors = centres[own] + 0.1 * rng.normal(size=(2_000, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = train_cells(vectors, 20)
    assert centroids.shape == (20, 32)
    cells = nearest_cells(on_grid(vectors), centroids)
    for cell in np.unique(cells):
        assert len(np.unique(own[cells == cell])) == 1


def test_cells_do_not_depend_on_the_batch() -> None:
    image, _ = clustered(3_000)
    centroids = train_cells(image, 40)
    assert (centroids == np.rint(centroids)).all()
    assert np.abs(np.linalg.norm(centroids, axis=1) / GRID - 1).max() < 0.01
    points = on_grid(image)
    whole = nearest_cells(points, centroids)
    pieces = [nearest_cells(points[start : start + 7], centroids) for start in range(0, 210, 7)]
    assert np.array_equal(whole[:210], np.concatenate(pieces))
    assert np.array_equal(centroids, train_cells(image, 40))


def test_torch_finds_the_same_cells_as_numpy_and_the_first_of_equally_near_ones() -> None:
    points = on_grid(clustered(500)[0])
    centroids = train_cells(clustered(500)[0], 40)
    centroids[[5, 11]] = centroids[[20, 5]]
    assert np.array_equal(_nearest_on(centroids, "cpu")(points), nearest_cells(points, centroids))
    assert _nearest_on(centroids[:1].repeat(9, axis=0), "cpu")(points[:5]).tolist() == [0] * 5


def test_counts_follow_the_rows_and_the_shards() -> None:
    assert cell_count(400_000_000, 40) == 1_280
    assert cell_count(400_000_000, 100_000) == 65_535  # the cell of a row takes two bytes
    assert cell_count(100, 50) == 6
    assert cell_count(1, 1) == 1
    assert sample_count(400_000_000, 1_280) == 81_920
    assert sample_count(50, 3) == 50
