"""Arithmetic of noun sets and of pairs: how many nouns two sets share, and which pairs of a level are kept by chance.

Knows arrays only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mining.strategies.bands import hash_rows, rank_in_groups

__all__ = ["best_per_level", "first_of_each_caption", "pad_sets", "shared_counts", "shared_mask"]

Ints = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]

# Pairs compared noun by noun at a time: 65,536 x 20 x 20 comparisons are 26 MB.
_AT_ONCE = 1 << 16


def pad_sets(offsets: Ints, ranks: Ranks) -> Ranks:
    """int32 [n, longest]: the sets as rows, -1 behind their ends."""
    sizes = np.diff(offsets)
    width = int(sizes.max()) if len(sizes) else 0
    padded = np.full((len(sizes), width), -1, np.int32)
    padded[np.arange(width) < sizes[:, None]] = ranks
    return padded


def shared_counts(padded: Ranks, one: Ints, other: Ints) -> Ints:
    """int64 [n]: nouns that rows one[i] and other[i] of `padded` share."""
    counts: Ints = shared_mask(padded, one, other).sum(axis=1, dtype=np.int64)
    return counts


def shared_mask(padded: Ranks, one: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """bool [n, longest]: which nouns of row one[i] row other[i] has too."""
    mask = np.zeros((len(one), padded.shape[1]), np.bool_)
    for start in range(0, len(one), _AT_ONCE):
        a, b = padded[one[start : start + _AT_ONCE]], padded[other[start : start + _AT_ONCE]]
        b = np.where(b < 0, -2, b)
        for column in range(a.shape[1]):
            mask[start : start + _AT_ONCE, column] = (a[:, column, None] == b).any(axis=1)
    return mask


def best_per_level(pairs: Ints, most: int, seed: int, weights: npt.NDArray[np.float64] | None = None) -> Ints:
    """Places of up to `most` pairs of each level (column 2 of int64 [n, 3]), by seeded chance; ascending.

    weights: [n] above 0: chances in their proportion (Efraimidis and Spirakis 2006: the smallest -log(u) / w).
    """
    if not len(pairs):
        return np.empty(0, np.int64)
    chance = (hash_rows(pairs[:, :2], seed) >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    if weights is not None:
        chance = -np.log(np.maximum(chance, 1e-18)) / weights
    order = np.lexsort((pairs[:, 1], pairs[:, 0], chance, pairs[:, 2]))
    kept: Ints = np.sort(order[rank_in_groups(pairs[order, 2]) < most]).astype(np.int64)
    return kept


def first_of_each_caption(keys: Keys, captions: Keys) -> npt.NDArray[np.bool_]:
    """Which entries are the first of their caption under their key: one text on a thousand images counts once."""
    order = np.lexsort((np.arange(len(keys)), captions, keys))
    repeated = (keys[order][1:] == keys[order][:-1]) & (captions[order][1:] == captions[order][:-1])
    first = np.ones(len(keys), np.bool_)
    first[order[1:][repeated]] = False
    return first
