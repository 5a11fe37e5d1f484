"""Groups of near rows, inside which exact nearest neighbours are found by matrix products.

As in partitioned builds of graphs (DiskANN, https://papers.nips.cc/paper/9527; HCNNG, Munoz et al. 2019), but groups do
not overlap: each query is compared with the rows of its nearest groups, so rows on both sides of a border meet. The
work grows with the queries times the rows of some groups, not times all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from index.graph.exact import best_device
from index.graph.nearest_lists import GROUP_ROWS, NearestLists, smallest, smallest_on_device
from index.graph.reduced import UNIT, widened

__all__ = ["Groups", "by_group", "make_groups", "nearest_in_groups"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

_SAMPLE = 64  # rows of a group that its centroid is the mean of
_ASSIGNED_ROWS = 65_536  # rows that are compared with the centroids at once
_QUERIES = 1_024  # rows that are compared with a group at once: 16 MB of products at most
_GPU_BYTES = 200_000_000  # what these products, their sums and their keys take of a GPU's memory
# A function of queries, rows and k: columns and values [q, k] of the k nearest of these rows.
_Compared = Callable[[Ids, Ids, int], tuple[Numbers, Numbers]]


@dataclass(frozen=True)
class Groups:
    """centroids: float32 [g, r], whole numbers. members: of each group its rows, ascending."""

    centroids: Floats
    members: list[Ids]


def make_groups(points: Halves, size: int) -> Groups:
    """Groups of about `size` rows of `points` [n, r], each row in that of its nearest centroid.

    points: whole numbers (`index.graph.reduced`). The same points give the same groups.
    """
    count = max(1, round(len(points) / size))
    generator = np.random.Generator(np.random.PCG64(3))
    centroids = widened(points[np.sort(generator.choice(len(points), count, replace=False))])
    sample = widened(points[:: max(1, len(points) // (count * _SAMPLE))])
    own = _nearest_centroids(sample, centroids, 1, inner=False)[:, 0]
    starts = np.flatnonzero(np.bincount(own, minlength=count))
    order = np.argsort(own, kind="stable")
    firsts = np.searchsorted(own[order], starts)
    sums = np.add.reduceat(sample[order], firsts, axis=0, dtype=np.float64)
    centroids[starts] = np.rint(sums / np.diff(np.append(firsts, len(own)))[:, None])
    return Groups(centroids, by_group(_assigned(points, centroids, 1, inner=False), count))


def nearest_in_groups(
    points: Halves,
    groups: Groups,
    queries: Halves,
    visits: int,
    k: int,
    *,
    inner: bool = False,
    device: str | None = None,
) -> NearestLists:
    """The k nearest of `points` to each of `queries` [q, r] among those in its `visits` nearest groups.

    A point that asks finds itself too.

    Args:
        inner: near is what has a large inner product, not a small distance; the queries are not centered then, see
            `Reduction`.
        device: where rows are compared; by default a GPU, if there is one whose memory holds them. All find the same.
    """
    found = NearestLists(len(queries), k)
    visitors = by_group(_assigned(queries, groups.centroids, visits, inner=inner), len(groups.members))
    compared = _on_cpu(points, queries, inner)
    where = device or best_device(2 * (points.nbytes + queries.nbytes + _GPU_BYTES))
    if where != "cpu":
        compared = _on_gpu(points, queries, inner, where)
    for asking, rows in _pairs(visitors, groups.members):
        columns, values = compared(asking, rows, min(k, len(rows)))
        found.add(asking, values, rows[columns])
    return found


def _on_cpu(points: Halves, queries: Halves, inner: bool) -> _Compared:
    def compare(asking: Ids, rows: Ids, k: int) -> tuple[Numbers, Numbers]:
        asked, group = widened(queries[asking]), widened(points[rows])
        distances = asked @ group.T
        if inner:
            np.subtract(np.float32(2 * UNIT * UNIT), distances, out=distances)
        else:
            distances *= -2
            distances += np.einsum("ij,ij->i", group, group)
            distances += np.einsum("ij,ij->i", asked, asked)[:, None]
        return smallest(distances, k)

    return compare


def _on_gpu(points: Halves, queries: Halves, inner: bool, device: str) -> _Compared:
    """Points and queries are copied to the GPU once; after that row ids go there, and what was found comes back."""
    import torch

    held = [torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in (points, queries)]

    def compare(asking: Ids, rows: Ids, k: int) -> tuple[Numbers, Numbers]:
        group, asked = (
            each[torch.from_numpy(places).to(device)].float() for each, places in zip(held, (rows, asking), strict=True)
        )
        distances = asked @ group.T
        if inner:
            distances = 2 * UNIT * UNIT - distances
        else:
            distances = (group * group).sum(dim=1) - 2 * distances + (asked * asked).sum(dim=1, keepdim=True)
        return smallest_on_device(distances, k)

    return compare


def _pairs(asking: list[Ids], members: list[Ids]) -> Iterator[tuple[Ids, Ids]]:
    """Which queries are compared with which rows: at most _QUERIES with GROUP_ROWS.

    A group of more rows is cut into parts, of its rows and of those that ask, so that the work is not their product.
    """
    for queries, rows in zip(asking, members, strict=True):
        parts = -(-len(rows) // GROUP_ROWS)
        for part in range(parts):
            some, own = queries[part::parts], rows[part::parts]
            for start in range(0, len(some), _QUERIES):
                yield some[start : start + _QUERIES], own


def _assigned(points: Halves, centroids: Floats, visits: int, *, inner: bool) -> Ids:
    """int64 [n, visits]: the groups of each point, nearest first."""
    most = min(visits, len(centroids))
    found = np.empty((len(points), most), np.int32)
    for start in range(0, len(points), _ASSIGNED_ROWS):
        block = widened(points[start : start + _ASSIGNED_ROWS])
        found[start : start + len(block)] = _nearest_centroids(block, centroids, most, inner=inner)
    return found.astype(np.int64)


def _nearest_centroids(vectors: Floats, centroids: Floats, visits: int, *, inner: bool) -> Ids:
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    found: Ids = faiss.knn(vectors, centroids, visits, metric=metric)[1]
    return found


def by_group(assigned: npt.NDArray[np.integer], count: int) -> list[Ids]:
    """The rows int64 of each group 0 .. count - 1, ascending, from the groups [n, visits] of each row."""
    visits, flat = assigned.shape[1], assigned.ravel()
    order = np.argsort(flat, kind="stable")
    cuts = np.searchsorted(flat[order], np.arange(count + 1))
    return [order[first:last] // visits for first, last in pairwise(cuts)]
