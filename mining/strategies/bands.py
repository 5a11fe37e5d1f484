"""Bands of a measured strength, and thinning to a seeded sample that is as even over them as the supply allows.

Knows arrays; what they measure is the strategies' own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BANDS", "OVERSAMPLED", "equal_bands", "even_bands", "hash_rows", "rank_in_groups", "thin", "unique_pairs"]

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


def hash_rows(rows: RowIds, seed: int) -> npt.NDArray[np.uint64]:
    """uint64 [n]: a hash of each row of ids [n, m] and the seed; -1 fills sets of fewer members."""
    # splitmix64's finalizer (Steele, Lea and Flood 2014) over one id after the other.
    state = np.full(len(rows), np.uint64(seed % (1 << 64)), np.uint64)
    with np.errstate(over="ignore"):
        for column in range(rows.shape[1]):
            state = (state ^ rows[:, column].astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    return state


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


def rank_in_groups(groups: npt.NDArray[np.integer]) -> RowIds:
    """0, 1, 2, ... within each run of equal values."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    ranks: RowIds = np.arange(len(groups)) - np.repeat(starts, lengths)
    return ranks
