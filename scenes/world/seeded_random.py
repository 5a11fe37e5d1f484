"""Seeded random numbers: the same parts give the same numbers in every process and on every machine.

Only `Random.random()` and `getrandbits()` are used, whose streams Python keeps stable across versions.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def seed_of(*parts: object) -> int:
    """A 64-bit seed from the SHA-256 of the parts."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")


def rng_of(*parts: object) -> random.Random:
    """The random stream of the parts."""
    return random.Random(seed_of(*parts))


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of the items; all are equally likely."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in random order."""
    keyed = sorted((rng.random(), i) for i in range(len(items)))
    return [items[i] for _, i in keyed]


def between(rng: random.Random, low: float, high: float) -> float:
    """A uniform number of the range, rounded to three decimals so that the JSON is short and the same everywhere."""
    return round(low + (high - low) * rng.random(), 3)


class UniformStream:
    """Uniform numbers from an integer seed: cheaper to start than `random.Random`, and independent of any library."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & 0xFFFFFFFFFFFFFFFF

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        """The next number in [low, high)."""
        # splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)
        self._state = (self._state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return low + (high - low) * ((z ^ (z >> 31)) >> 11) / (1 << 53)
