"""Cells packed into shards of equal size, near cells together.

All cells are cut in two by a plane between two centres, so that the rows on both sides are as many as the shards there
need, and each half again, down to single shards. Of several planes, the one with the centres farthest apart is taken.
That gives an order of the cells in which neighbours are near each other; cut after every n-th row it gives the shards,
whose sizes differ by one row at most. A cell at a cut is divided between two shards, a cell that is larger than a shard
among several.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.graph.cells import GRID, Floats, Ids

__all__ = ["PACKING_RULES", "pack_cells"]

# Planes that are tried for a cut, the seed of all but the first, and how often each is moved between its two centres.
_PLANES, _SEED, _ROUNDS = 8, 7, 10
# What decides which cells a shard holds.
PACKING_RULES = ("packing", _PLANES, _SEED, _ROUNDS)


def pack_cells(centroids: Floats, counts: Ids, shards: int) -> Ids:
    """The table int64 [m, 4] of what each shard holds: (shard, cell, first, last), ordered by shard and cell.

    The shard holds the rows first .. last - 1 of the cell, in the order of their ids.

    Args:
        centroids: [cells, d] on the grid of `index.graph.cells`.
        counts: int64 [cells], the rows of each.
        shards: at most the number of rows.
    """
    order = _ordered(np.flatnonzero(counts), centroids.astype(np.float64), counts, shards)
    ends = np.cumsum(counts[order])
    edges = int(ends[-1]) * np.arange(shards + 1) // shards
    table = []
    for shard, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        begin, stop = np.searchsorted(ends, low, side="right"), np.searchsorted(ends, high, side="left") + 1
        for cell, end in zip(order[begin:stop].tolist(), ends[begin:stop].tolist(), strict=True):
            start = end - int(counts[cell])
            table.append((shard, cell, max(low, start) - start, min(high, end) - start))
    return np.array(sorted(table), np.int64).reshape(-1, 4)


def _ordered(cells: Ids, centroids: npt.NDArray[np.float64], counts: Ids, shards: int) -> Ids:
    """The cells in an order in which neighbours are near each other."""
    if shards == 1 or len(cells) < 2:
        return cells
    points, weights = centroids[cells], counts[cells].astype(np.float64)
    share = (shards // 2) / shards
    far = points[np.argmax(_squares(points - _mean(points, weights)))]
    generator = np.random.Generator(np.random.PCG64(_SEED))
    planes = [points[np.argmax(_squares(points - far))] - far]
    planes += list(generator.choice(np.array([-1.0, 1.0]), (_PLANES - 1, points.shape[1])))
    apart, best = -1.0, planes[0]
    for direction in planes:
        for _ in range(_ROUNDS):
            order, cut = _cut(points, weights, direction, share)
            below, above = order[:cut], order[cut:]
            moved = _mean(points[above], weights[above]) - _mean(points[below], weights[below])
            if (moved == direction).all():
                break
            direction = moved
        between = float(_squares(direction[None])[0])  # the farther apart the centres, the nearer the rows to them
        if between > apart:
            apart, best = between, direction
    order, cut = _cut(points, weights, best, share)
    halves = ((order[:cut], shards // 2), (order[cut:], shards - shards // 2))
    return np.concatenate([_ordered(np.sort(cells[half]), centroids, counts, some) for half, some in halves])


def _cut(
    points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], share: float
) -> tuple[Ids, int]:
    """The order of the points along a direction, and how many of them have `share` of all rows."""
    length = float(np.sqrt(_squares(direction[None])[0])) or 1.0
    # Whole numbers again, so that the order does not depend on how the products are summed.
    order = np.argsort(points @ np.rint(direction / length * GRID), kind="stable").astype(np.int64)
    cut = 1 + int(np.argmin(np.abs(np.cumsum(weights[order]) - weights.sum() * share)))
    return order, min(max(cut, 1), len(order) - 1)


def _mean(points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = (points * weights[:, None]).sum(axis=0) / weights.sum()
    return mean


def _squares(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", points, points)
    return squares
