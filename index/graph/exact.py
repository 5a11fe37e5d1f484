"""Exact top-K by inner product: one pass over blocks of vectors, a matrix product a block, on the CPU or a GPU.

Memory does not grow with the number of rows: it holds the queries with their K best so far, a few blocks and one tile
of scores. Arithmetic is as precise as fp32, in which a store's fp16 rows are exact (`index.graph.tiles`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.graph.tiles import Asked, Block, above, kth_best, tile_shape, tiles

if TYPE_CHECKING:
    import torch

__all__ = ["Block", "best_device", "exact_top_k"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


def best_device(needed: int = 0) -> str:
    """ "cuda" if there is a GPU with so many bytes free, else "cpu"."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "cuda" if not needed or torch.cuda.mem_get_info()[0] >= needed else "cpu"


def exact_top_k(
    blocks: Iterable[Block],
    queries: npt.NDArray[np.floating[Any]],
    k: int,
    *,
    excluded: RowIds | None = None,
    device: str = "cpu",
) -> tuple[Floats, RowIds]:
    """The k largest inner products of each query with the rows that `blocks` yields.

    Args:
        blocks: `(first row id, vectors [n, d])` in ascending order of rows; each is read once.
        queries: [q, d], any float dtype.
        k: how many to keep for each query.
        excluded: sorted row ids to skip. Rows that are zero or not finite are always skipped.
        device: "cpu" or a torch device; the result does not depend on how many queries are asked together, except for
            the last bits of the scores.

    Returns:
        scores float32 [q, k] in descending order, and row ids int64 [q, k]; of equal scores the smaller row id comes
        first. If there are fewer than k rows, the rest is -inf and -1.
    """
    import torch

    on = torch.device(device)
    tile_queries, tile_rows = tile_shape(on)
    asked = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32)).to(on)
    best_of_all = [
        _Best(Asked(asked[start : start + tile_queries], halves=on.type == "cuda"), k)
        for start in range(0, len(asked), tile_queries)
    ]
    skipped = np.empty(0, np.int64) if excluded is None else excluded
    with closing(tiles(blocks, on, tile_rows)) as ready:
        for first, tile in ready:
            lengths = torch.linalg.vector_norm(tile, dim=1, dtype=torch.float32)
            dropped = ~((lengths > 0) & torch.isfinite(lengths))  # also true for NaN
            if bool(dropped.any()):
                tile[dropped] = 0
            low, high = np.searchsorted(skipped, [first, first + len(tile)])
            dropped[torch.from_numpy(skipped[low:high] - first).to(on)] = True
            positions = dropped.nonzero()[:, 0]
            for best in best_of_all:
                best.take(tile, first, positions)
    found = [best.result() for best in best_of_all]
    if not found:
        return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
    return np.concatenate([scores for scores, _ in found]), np.concatenate([ids for _, ids in found])


class _Best:
    """The best rows so far of one tile of queries.

    Candidates above a query's threshold (its k-th score) are collected until some query has k of them; then the
    candidates of all queries are sorted together with the kept rows. Rows come in ascending order, so a strict
    comparison, and the position as the lower half of the sort key, order equal scores by row id.
    """

    def __init__(self, queries: Asked, k: int) -> None:
        import torch

        self.queries, self.k = queries, k
        self.device = queries.whole.device
        self.scores = torch.full((len(queries), k), -torch.inf, device=self.device)
        self.ids = torch.full((len(queries), k), -1, dtype=torch.int64, device=self.device)
        self.filled = False  # whether every query has k rows
        self._forget_waiting()

    def take(self, tile: torch.Tensor, first: int, dropped: torch.Tensor) -> None:
        """Consider the rows of `tile` [n, d], the first of which has id `first`, except the positions `dropped`."""
        import torch

        products = self.queries.products(tile)
        if len(dropped):
            products[:, dropped] = -torch.inf
        threshold = self.scores[:, -1]
        if not self.filled and self.k < len(tile):
            # k rows of this tile are at least as good as its k-th best, so that rows below it cannot stay.
            kth = kth_best(products, self.k)
            threshold = torch.maximum(threshold, kth.nextafter(torch.full_like(kth, -torch.inf)))
        query, column = above(products, threshold)
        if not len(query):
            return
        counts = torch.bincount(query, minlength=len(self.queries))
        place = torch.arange(len(query), device=query.device) - (torch.cumsum(counts, 0) - counts)[query]
        self.waiting.append((query, self.counts[query] + place, products[query, column], column + first))
        self.counts += counts
        if not self.filled or int(self.counts.max()) >= self.k:
            self._merge()
            self.filled = self.filled or not bool(torch.isneginf(self.scores[:, -1]).any())

    def result(self) -> tuple[Floats, RowIds]:
        self._merge()
        return self.scores.cpu().numpy(), self.ids.cpu().numpy()

    def _merge(self) -> None:
        import torch

        if not self.waiting:
            return
        shape = (len(self.queries), int(self.counts.max()))
        scores = torch.full(shape, -torch.inf, device=self.device)
        ids = torch.full(shape, -1, dtype=torch.int64, device=self.device)
        for query, place, score, row in self.waiting:
            scores[query, place] = score
            ids[query, place] = row
        scores, ids = torch.cat([self.scores, scores], 1), torch.cat([self.ids, ids], 1)
        order = _best_first(scores)[:, : self.k]
        self.scores, self.ids = scores.gather(1, order), ids.gather(1, order)
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        import torch

        self.waiting: list[tuple[torch.Tensor, ...]] = []  # query, place among the query's, score, row id
        self.counts = torch.zeros(len(self.queries), dtype=torch.int64, device=self.device)


def _best_first(scores: torch.Tensor) -> torch.Tensor:
    """Columns [q, n] of each row in descending order of score; of equal scores, the first column first."""
    import torch

    # The bits of a float, with the lower 31 flipped if it is negative, have the order of the floats; the column is the
    # lower half of the key. Sorting such keys is many times faster than a stable sort with indices in numpy.
    bits = scores.view(torch.int32)
    descending = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    keys = (descending.to(torch.int64) << 32) | torch.arange(scores.shape[1], device=scores.device)
    ordered = keys.sort(dim=1).values if keys.is_cuda else torch.from_numpy(np.sort(keys.numpy(), axis=1))
    return ordered & 0xFFFFFFFF
