"""Levels as bands of similarity, and seeded samples of proposed sets that are as even over levels as they can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.hashing import hash_rows

__all__ = [
    "BANDS",
    "OVERSAMPLED",
    "best_per_level",
    "equal_bands",
    "equal_edges",
    "even_bands",
    "rank_in_groups",
    "thin",
    "unique_pairs",
]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

# Sets that are proposed for each one wanted, since caps, near-duplicates and scarce levels remove some. The summary of
# a run says where that was not enough.
OVERSAMPLED = 4
# The number of bands of similarity; few enough that a store of some thousand rows fills each.
BANDS = 4


def even_bands(values: Floats, low: float, high: float, bands: int = BANDS) -> npt.NDArray[np.int32]:
    """int32 [n]: the band 1 .. bands of each value, bands of equal width over low <= value < high; 0 outside."""
    inside = (values >= low) & (values < high)
    width = (high - low) / bands
    band = np.minimum((np.where(inside, values, low) - low) / max(width, 1e-9), bands - 1).astype(np.int32) + 1
    found: npt.NDArray[np.int32] = np.where(inside, band, 0).astype(np.int32)
    return found


def equal_edges(values: Floats, below: float, bands: int = BANDS) -> list[float]:
    """The edges, rising, between bands with equally many of the values under `below`; [] where there is none."""
    under = values[values < below]
    return list(map(float, np.quantile(under, np.arange(1, bands) / bands))) if len(under) else []


def equal_bands(values: Floats, below: float, edges: Sequence[float]) -> npt.NDArray[np.int32]:
    """int32 [n]: the bands of `equal_edges` for values under `below`, 1 for the largest values; 0 for the others."""
    bands = len(edges) + 1 - np.searchsorted(np.asarray(edges, np.float64), values, side="right")
    found: npt.NDArray[np.int32] = np.where(values < below, bands, 0).astype(np.int32)
    return found


def unique_pairs(pairs: RowIds) -> RowIds:
    """Places, ascending, of the first occurrence of each pair [n, 2]; (a, b) and (b, a) are one pair."""
    ordered = np.sort(pairs, axis=1)
    order = np.lexsort((ordered[:, 1], ordered[:, 0]))
    new = np.ones(len(order), np.bool_)
    new[1:] = (ordered[order[1:]] != ordered[order[:-1]]).any(axis=1)
    places: RowIds = np.sort(order[new]).astype(np.int64)
    return places


def thin(pairs: RowIds, levels: npt.NDArray[np.integer], count: int, seed: int) -> RowIds:
    """Places, ascending, of a seeded sample of up to `count` sets [n, m], as even over levels [n] as possible."""
    if len(pairs) <= count:
        return np.arange(len(pairs), dtype=np.int64)
    order = np.lexsort((hash_rows(pairs, seed), levels))
    rank = rank_in_groups(levels[order])
    # The first of each level, then the second of each level, ...: other levels make up for a scarce one.
    chosen = order[np.lexsort((levels[order], rank))[:count]]
    places: RowIds = np.sort(chosen).astype(np.int64)
    return places


def best_per_level(pairs: RowIds, most: int, seed: int, weights: npt.NDArray[np.float64] | None = None) -> RowIds:
    """Places, ascending, of a seeded random sample of up to `most` pairs of each level (column 2 of int64 [n, 3]).

    weights: [n] above 0, to which the chances are proportional (Efraimidis and Spirakis 2006: smallest -log(u) / w).
    """
    if not len(pairs):
        return np.empty(0, np.int64)
    chance = (hash_rows(pairs[:, :2], seed) >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    if weights is not None:
        chance = -np.log(np.maximum(chance, 1e-18)) / weights
    order = np.lexsort((pairs[:, 1], pairs[:, 0], chance, pairs[:, 2]))
    kept: RowIds = np.sort(order[rank_in_groups(pairs[order, 2]) < most]).astype(np.int64)
    return kept


def rank_in_groups(groups: npt.NDArray[np.integer]) -> RowIds:
    """int64 [n]: 0, 1, 2, ... within each run of equal values."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    ranks: RowIds = np.arange(len(groups)) - np.repeat(starts, lengths)
    return ranks
