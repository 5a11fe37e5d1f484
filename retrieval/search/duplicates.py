"""Near and exact duplicates among rows: by image embedding and by SHA-256.

Rows come best first, and a row is dropped when a better row that stays is within the threshold. clip-retrieval drops
by connected components instead: there a chain of small steps joins images that have nothing in common, and a large
group keeps only one row. Here every dropped row has a near-duplicate that stays (beyond EXACT_ROWS: had one when it was
dropped).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.duplicates.components import members_of

__all__ = ["EXACT_ROWS", "greedy_duplicates", "near_duplicates", "repeats", "sha256_words"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Gather = Callable[[IntArray], npt.NDArray[np.floating[Any]]]

# 50,000 rows of 512 dimensions take at most 50,000^2 x 512 / 2 multiply-adds (a row is compared with those before it):
# about 10 seconds at the 137 GFLOP/s of 2 cores. Beyond, only rows in the same cells are compared.
EXACT_ROWS = 50_000
_BLOCK = 2_048
# A row is compared inside the cells of its 4 nearest pivots: at cosine 0.94 two neighbours rarely share none of 4.
_CELLS_PER_ROW = 4
_CELL_ROWS = 2_000


def near_duplicates(
    rows: IntArray,
    gather: Gather,
    threshold: float,
    *,
    groups: Callable[[IntArray], IntArray | None] | None = None,
    exact_rows: int = EXACT_ROWS,
    seed: int = 0,
) -> BoolArray:
    """bool [n]: which of `rows` (best first, each once) are within `threshold` of a better row that stays.

    gather: row ids int64 [m] -> unit vectors float16 [m, d]. Up to `exact_rows` every pair is compared. Beyond,
    rows are put into the cells of their 4 nearest pivots (rows drawn by `seed`) and compared exactly inside each
    cell: a small share of pairs close to the threshold is missed, and time is quadratic in the end, since there is a
    pivot for each 2,000 rows.

    groups: row ids int64 [m] -> numbers such that no two near-duplicates have different ones, -1 for a row that is
    alone (`index.duplicates.stored_groups.known_groups`), or None where they are not known. Beyond `exact_rows`, only
    rows of one group are then compared, and time grows with the rows.
    """
    if len(rows) <= exact_rows:
        return greedy_duplicates(gather(rows), threshold)
    known = groups(rows) if groups is not None else None
    if known is not None:
        return _within_groups(rows, gather, threshold, known, exact_rows, seed)
    dropped = np.zeros(len(rows), np.bool_)
    for members in _cells(rows, gather, seed):
        alive = members[~dropped[members]]
        dropped[alive] = greedy_duplicates(gather(rows[alive]), threshold)
    return dropped


def _within_groups(
    rows: IntArray, gather: Gather, threshold: float, groups: IntArray, exact_rows: int, seed: int
) -> BoolArray:
    dropped = np.zeros(len(rows), np.bool_)
    for batch in _batches(members_of(groups)):
        if len(batch) == 1 and len(batch[0]) > exact_rows:
            # All of one group, so that its number tells nothing more.
            large = batch[0]
            dropped[large] = near_duplicates(rows[large], gather, threshold, exact_rows=exact_rows, seed=seed)
            continue
        vectors = gather(rows[np.concatenate(batch)])
        first = 0
        for members in batch:
            dropped[members] = greedy_duplicates(vectors[first : first + len(members)], threshold)
            first += len(members)
    return dropped


def _batches(groups: Iterable[IntArray]) -> Iterator[list[IntArray]]:
    """Groups, some at a time, so that the vectors of many small ones are read together."""
    batch: list[IntArray] = []
    held = 0
    for members in groups:
        if batch and held + len(members) > 4 * _BLOCK:
            yield batch
            batch, held = [], 0
        batch.append(members)
        held += len(members)
    if batch:
        yield batch


def greedy_duplicates(vectors: npt.NDArray[np.floating[Any]], threshold: float) -> BoolArray:
    """bool [n]: rows of `vectors` [n, d] (best first) whose cosine with an earlier row that stays is >= `threshold`."""
    count = len(vectors)
    dropped = np.zeros(count, np.bool_)
    kept = np.empty((count, vectors.shape[1]), np.float32)
    filled = 0
    for start in range(0, count, _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float32)
        out = np.zeros(len(block), np.bool_)
        for first in range(0, filled, _BLOCK):
            out |= (block @ kept[first : min(first + _BLOCK, filled)].T).max(axis=1) >= threshold
        near = block @ block.T >= threshold
        for place in range(len(block)):
            if not out[place]:
                out[place + 1 :] |= near[place, place + 1 :]
        stays = block[~out]
        kept[filled : filled + len(stays)] = stays
        filled += len(stays)
        dropped[start : start + len(block)] = out
    return dropped


def _cells(rows: IntArray, gather: Gather, seed: int) -> Iterable[IntArray]:
    """Overlapping groups of positions in `rows`, each ascending (so best first)."""
    pivots = max(1, len(rows) // _CELL_ROWS)
    drawn = np.sort(np.random.default_rng(seed).choice(len(rows), pivots, replace=False))
    centres = gather(rows[drawn]).astype(np.float32)
    width = min(_CELLS_PER_ROW, pivots)
    cell = np.empty((len(rows), width), np.int32)
    for start in range(0, len(rows), _BLOCK):
        products = gather(rows[start : start + _BLOCK]).astype(np.float32) @ centres.T
        cell[start : start + _BLOCK] = np.argpartition(-products, width - 1, axis=1)[:, :width]
    order = np.argsort(cell.ravel(), kind="stable")
    places = (order // width).astype(np.int64)
    bounds = np.searchsorted(cell.ravel()[order], np.arange(pivots + 1))
    for number in range(pivots):
        yield np.sort(places[bounds[number] : bounds[number + 1]])


def repeats(*keys: npt.NDArray[np.generic]) -> BoolArray:
    """bool [n]: which positions repeat the keys (arrays [n], compared together) of an earlier position."""
    order = np.lexsort(keys[::-1])  # stable, so the earliest of equal keys comes first
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    repeated = np.zeros(len(order), np.bool_)
    repeated[order[1:][same]] = True
    return repeated


def sha256_words(
    digests: pa.ChunkedArray | pa.Array,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], BoolArray]:
    """Two uint64 [n], the first 128 bits of hex SHA-256 texts, and bool [n], which texts are given: 16 bytes a row.

    Missing texts give zeros and False. Among 10 million images two different ones never share 128 bits in practice.
    """
    words = np.zeros((len(digests), 2), np.uint64)
    known = np.zeros(len(digests), np.bool_)
    for place, text in enumerate(digests.to_pylist()):
        if text:
            words[place] = int(text[:16], 16), int(text[16:32], 16)
            known[place] = True
    return words[:, 0], words[:, 1], known
