"""Cells: the places that rows of one meaning share, by k-means over a sample of the rows.

A shard by meaning holds the rows of several cells (`index.graph.packing`), and a search ranks shards by the cells that
are nearest to its query (`index.graph.visits`). Vectors and centroids are rounded to multiples of 1/2048, so all sums
are whole numbers that fp32 and float64 hold exactly: the cell of a row does not depend on the processor, on the number
of threads or on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CELL_RULES",
    "GPU_BYTES",
    "GRID",
    "cell_count",
    "cell_finder",
    "nearest_cells",
    "on_grid",
    "sample_count",
    "train_cells",
]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

GRID = 2_048
# Cells of a shard: more of them describe a shard better and cost a search more products. _MOST bounds them, since the
# cell of a row is kept in _CELL_BITS bits.
_PER_SHARD, _LEAST_ROWS, _MOST, _CELL_BITS = 32, 16, 65_535, 16
_LEARNED, _ITERATIONS, _SEED = 64, 8, 5  # sampled rows of a cell, rounds of k-means
_BLOCK_ROWS = 8_192
# Products of rows and cells at once: 64 MB.
_PRODUCTS = 16_000_000
GPU_BYTES = 2_000_000_000  # of a GPU's memory: the centroids, these products, and their keys of 8 bytes
# What decides the cells.
CELL_RULES = ("cells", GRID, _PER_SHARD, _LEAST_ROWS, _MOST, _LEARNED, _ITERATIONS, _SEED)


def cell_count(rows: int, shards: int) -> int:
    """Cells for so many rows in so many shards."""
    return max(1, min(_PER_SHARD * shards, rows // _LEAST_ROWS, _MOST))


def sample_count(rows: int, cells: int) -> int:
    """Rows that so many cells are learned from."""
    return min(rows, _LEARNED * cells)


def on_grid(vectors: npt.NDArray[Any]) -> Floats:
    """Unit vectors [n, d] in multiples of 1/2048: whole numbers, whose inner products fp32 sums exactly."""
    whole: Floats = np.rint(vectors.astype(np.float32) * np.float32(GRID))
    return whole


def train_cells(sample: npt.NDArray[Any], cells: int, *, device: str = "cpu") -> Floats:
    """Centroids on the grid [cells, d] of unit rows `sample` [n, d], by spherical k-means: the same on any device."""
    points = on_grid(sample)
    generator = np.random.Generator(np.random.PCG64(_SEED))
    centroids = points[np.sort(generator.permutation(len(points))[:cells])]
    for _ in range(_ITERATIONS):
        own = nearest_cells(points, centroids, device=device)
        sums = np.zeros(centroids.shape, np.float64)
        for start in range(0, len(points), _BLOCK_ROWS):
            order = np.argsort(own[start : start + _BLOCK_ROWS], kind="stable") + start
            met, firsts = np.unique(own[order], return_index=True)
            sums[met] += np.add.reduceat(points[order], firsts, axis=0, dtype=np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        some = np.flatnonzero(lengths)  # a cell without rows stays where it is
        moved = centroids.copy()
        moved[some] = np.rint(sums[some] / lengths[some, None] * GRID)
        if (moved == centroids).all():
            break
        centroids = moved
    return centroids


def nearest_cells(points: Floats, centroids: Floats, *, device: str = "cpu") -> Ids:
    """int64 [n]: the cell of each row; both are on the grid. Of equally near cells, the first, on any device."""
    return cell_finder(centroids, device=device)(points)


def cell_finder(centroids: Floats, *, device: str = "cpu") -> Callable[[Floats], Ids]:
    """`nearest_cells` as a function of the rows alone; the centroids go to the device once."""
    rows = max(1, min(_BLOCK_ROWS, _PRODUCTS // len(centroids)))
    nearest = _nearest_on(centroids, device) if device != "cpu" else lambda some: (some @ centroids.T).argmax(axis=1)

    def find(points: Floats) -> Ids:
        found = np.empty(len(points), np.int64)
        for start in range(0, len(points), rows):
            found[start : start + rows] = nearest(points[start : start + rows])
        return found

    return find


def _nearest_on(centroids: Floats, device: str) -> Callable[[Floats], Ids]:
    """A function of rows [n, d]: the cell of each, by torch on a device."""
    import torch

    held = torch.from_numpy(np.ascontiguousarray(centroids.T)).to(device)
    # torch's argmax may return any of several largest, so the number of the cell becomes part of what is compared.
    numbers = torch.arange(len(centroids), device=device)

    def nearest(rows: Floats) -> Ids:
        products = torch.from_numpy(np.ascontiguousarray(rows)).to(device) @ held
        found: Ids = ((products.long() << _CELL_BITS) - numbers).argmax(dim=1).cpu().numpy()
        return found

    return nearest
