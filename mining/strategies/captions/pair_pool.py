"""A seeded sample of the pairs that many tasks found, read file by file, so that never all pairs are in memory.

The sample keeps the pairs with the smallest hashes of each level, so it does not depend on which task found a pair, nor
on how the files are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mining.strategies.bands import best_per_level

__all__ = ["Pool", "pool_pairs", "sample_pairs", "spread"]

Ints = npt.NDArray[np.int64]

# Pairs that are read before the first thinning: 24 MB.
AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Pool:
    """pairs int64 [n, 3]: positions a < b and the nouns shared, each pair once, ascending.

    repeated: pairs that several tasks found. surplus: pairs beyond the number to keep.
    """

    pairs: Ints
    repeated: int
    surplus: int


def pool_pairs(pieces: Iterable[Ints], most: int, seed: int, *, by_level: bool = True) -> Pool:
    """Pool pairs [n, 3]: at most `most` of each level, or in all. Memory for two or three times as many is used."""
    kept, pending, held = np.empty((0, 3), np.int64), list[Ints](), 0
    repeated = surplus = 0

    def thin() -> None:
        nonlocal kept, held, repeated, surplus
        pairs = np.concatenate([kept, *pending])
        pending.clear()
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        first = np.r_[True, (pairs[1:, :2] != pairs[:-1, :2]).any(axis=1)] if len(pairs) else np.empty(0, np.bool_)
        pairs = pairs[first]
        kept = pairs[sample_pairs(pairs, most, seed, by_level=by_level)]
        repeated, surplus = repeated + int((~first).sum()), surplus + len(pairs) - len(kept)
        held = 0

    for piece in pieces:
        pending.append(piece)
        held += len(piece)
        if held > max(AT_ONCE, len(kept)):
            thin()
    thin()
    return Pool(kept, repeated, surplus)


def sample_pairs(
    pairs: Ints, most: int, seed: int, weights: npt.NDArray[np.float64] | None = None, *, by_level: bool = True
) -> Ints:
    """Places, ascending, of a seeded sample of up to `most` of the pairs [n, 3] of each level, or in all."""
    if not by_level:
        pairs = np.column_stack([pairs[:, :2], np.zeros(len(pairs), np.int64)])
    return best_per_level(pairs, most, seed, weights)


def spread(pairs: Ints, most: int) -> npt.NDArray[np.float64]:
    """float64 [n]: weights of the pairs [n, 3] with which samples of the levels take all captions about equally often.

    A caption is expected in as many sampled pairs as it has pairs, each counted with the part of its level that is
    sampled (`most` pairs of a level). The weight of a pair is one over that number for its more frequent caption, so
    common levels seldom take a caption that rare levels need.
    """
    if not len(pairs):
        return np.empty(0)
    part = np.minimum(1.0, most / np.maximum(np.bincount(pairs[:, 2]), 1))[pairs[:, 2]]
    _, captions = np.unique(pairs[:, :2], return_inverse=True)
    captions = captions.reshape(-1, 2)
    expected = np.bincount(captions.ravel(), weights=np.repeat(part, 2))
    weights: npt.NDArray[np.float64] = 1.0 / expected[captions].max(axis=1)
    return weights
