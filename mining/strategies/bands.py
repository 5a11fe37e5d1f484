"""Bands of a measured strength, and thinning to a seeded sample that is as even over them as the supply allows.

Knows arrays; what they measure is the strategies' own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.hashing import hash_rows

__all__ = [
    "BANDS",
    "OVERSAMPLED",
    "best_per_level",
    "equal_bands",
    "even_bands",
    "rank_in_groups",
    "thin",
    "unique_pairs",
]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

# Sets proposed for one wanted: caps, near-duplicates and levels of little supply take their part, and the summary says
# where they took too much.
OVERSAMPLED = 4
# Bands of similarity: few enough that a store of some thousand rows fills each.
BANDS = 4


def even_bands(values: Floats, low: float, high: float, bands: int = BANDS) -> npt.NDArray[np.int32]:
    """Band 1 .. bands of each value [n] between `low` and `high`, all of one width; 0 outside (`high` itself too)."""
    inside = (values >= low) & (values < high)
    width = (high - low) / bands
    band = np.minimum((np.where(inside, values, low) - low) / max(width, 1e-9), bands - 1).astype(np.int32) + 1
    found: npt.NDArray[np.int32] = np.where(inside, band, 0).astype(np.int32)
    return found


def equal_bands(values: Floats, below: float, bands: int = BANDS) -> npt.NDArray[np.int32]:
    """Bands of equally many of the values [n] that are under `below`: 1 the largest, `bands` the smallest; else 0."""
    under = values < below
    edges = np.quantile(values[under], np.arange(1, bands) / bands) if under.any() else np.empty(0)
    found: npt.NDArray[np.int32] = np.where(under, bands - np.searchsorted(edges, values, side="right"), 0)
    return found.astype(np.int32)


def unique_pairs(pairs: RowIds) -> RowIds:
    """Places of the first of each pair [n, 2], whichever way round it stands; ascending."""
    ordered = np.sort(pairs, axis=1)
    order = np.lexsort((ordered[:, 1], ordered[:, 0]))
    new = np.ones(len(order), np.bool_)
    new[1:] = (ordered[order[1:]] != ordered[order[:-1]]).any(axis=1)
    places: RowIds = np.sort(order[new]).astype(np.int64)
    return places


def thin(pairs: RowIds, levels: npt.NDArray[np.integer], count: int, seed: int) -> RowIds:
    """Places of up to `count` of the sets [n, m], evenly over their levels as far as those reach, by seeded chance.

    Ascending places, so that the order of the sets stays.
    """
    if len(pairs) <= count:
        return np.arange(len(pairs), dtype=np.int64)
    order = np.lexsort((hash_rows(pairs, seed), levels))
    rank = rank_in_groups(levels[order])
    # Each level's first, then each level's second, ...: what a poor level cannot give, the others do.
    chosen = order[np.lexsort((levels[order], rank))[:count]]
    places: RowIds = np.sort(chosen).astype(np.int64)
    return places


def best_per_level(pairs: RowIds, most: int, seed: int, weights: npt.NDArray[np.float64] | None = None) -> RowIds:
    """Places of up to `most` pairs of each level (column 2 of int64 [n, 3]), by seeded chance; ascending.

    weights: [n] above 0: chances in their proportion (Efraimidis and Spirakis 2006: the smallest -log(u) / w).
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
    """0, 1, 2, ... within each run of equal values."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    ranks: RowIds = np.arange(len(groups)) - np.repeat(starts, lengths)
    return ranks
