"""Hashes of integers, for draws that depend on a seed and on row ids alone, on whatever machine and in whatever order.

All are splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) over uint64
arrays, whose arithmetic wraps around. Not for secrets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["GOLDEN_GAMMA", "finalize64", "hash_rows", "mix64"]

Hashes = npt.NDArray[np.uint64]

# splitmix64's increment: 2**64 divided by the golden ratio, made odd.
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def finalize64(values: Hashes) -> Hashes:
    """uint64 [n]: splitmix64's finalizer, a bijection of 64-bit numbers that spreads each bit over all."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    finalized: Hashes = mixed ^ (mixed >> np.uint64(31))
    return finalized


def mix64(values: Hashes) -> Hashes:
    """uint64 [n]: the output of a splitmix64 generator whose state is each value; 0 is no fixed point."""
    return finalize64(values + GOLDEN_GAMMA)


def hash_rows(rows: npt.NDArray[np.integer], seed: int) -> Hashes:
    """uint64 [n]: a hash of each row of integers [n, m] and the seed; the order within a row counts."""
    state = np.full(len(rows), np.uint64(seed % (1 << 64)), np.uint64)
    for column in range(rows.shape[1]):
        state = mix64(state ^ rows[:, column].astype(np.uint64))
    return state
