"""Figures with their 95% intervals: shares by Wilson's method, means by bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Figure", "mean_figure", "share_figure"]

_Z = 1.959964  # the normal distribution's 97.5% quantile
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        value: a share from 0 to 1, or a mean; None where nothing was counted.
        low, high: bounds of the 95% interval.
        count: what the figure is taken over.
        unit: "share", "rating" (0 to 5) or "mean" (0 to 1).
        floor, ceiling: the value if all failures were wrong, and if all were right; for ratings, if all had the lowest
            and the highest one. They are equal to `value` where nothing failed.
        right: how many were right, for a share.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    unit: Literal["share", "rating", "mean"]
    floor: float | None = None
    ceiling: float | None = None
    right: int | None = None


def share_figure(right: int, count: int, failed: int = 0) -> Figure:
    """The share right / count with Wilson's interval. failed: items without an answer, which `count` leaves out."""
    if not 0 <= right <= count:
        raise ValueError(f"{right} right of {count}")
    total = count + failed
    floor, ceiling = (right / total, (right + failed) / total) if total else (None, None)
    if not count:
        return Figure(None, None, None, 0, "share", floor, ceiling, 0)
    share, z2 = right / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    low = 0.0 if right == 0 else middle - half
    high = 1.0 if right == count else middle + half
    return Figure(share, low, high, count, "share", floor, ceiling, right)


def mean_figure(
    values: Sequence[float], failed: int = 0, *, unit: Literal["rating", "mean"] = "mean", most: float = 1.0
) -> Figure:
    """The mean with a percentile bootstrap interval (2,000 resamples, the same for the same values).

    most: the highest value there is; the lowest is 0. One value has no interval.
    """
    count = len(values)
    total = math.fsum(values)
    everything = count + failed
    floor, ceiling = (total / everything, (total + failed * most) / everything) if everything else (None, None)
    if not count:
        return Figure(None, None, None, 0, unit, floor, ceiling)
    low = high = None
    if count > 1:
        rng = np.random.default_rng(0)
        data = np.asarray(values, np.float64)
        # Resampled in blocks, so that 7,520 values take 6 MB at a time instead of 120.
        means = [data[rng.integers(0, count, (100, count))].mean(1) for _ in range(_RESAMPLES // 100)]
        low, high = (float(bound) for bound in np.quantile(np.concatenate(means), (0.025, 0.975)))
    return Figure(total / count, low, high, count, unit, floor, ceiling)
