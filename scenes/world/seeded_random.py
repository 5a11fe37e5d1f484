"""Seeded chance: the same parts give the same numbers in every process and on every machine.

Only `Random.random()` and `getrandbits()` are drawn from, whose streams Python keeps stable across versions.
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
    """A random stream of its own for the parts."""
    return random.Random(seed_of(*parts))


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of the items, all equally likely."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in random order."""
    keyed = sorted((rng.random(), i) for i in range(len(items)))
    return [items[i] for _, i in keyed]


def between(rng: random.Random, low: float, high: float) -> float:
    """A uniform number of the range, to three decimals: keeps the JSON short and equal everywhere."""
    return round(low + (high - low) * rng.random(), 3)
