"""How sure a figure is: mean and 95% interval over seeds (Student's t), and Wilson's interval of a share.

Knows no models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Interval", "over_seeds", "wilson"]

# Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_Z = 1.960  # the normal distribution's


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% interval and the number of runs; bounds are None for one run."""

    mean: float
    low: float | None
    high: float | None
    runs: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of runs that differ in their seed, and Student's t interval of it. ValueError for no values."""
    if not values:
        raise ValueError("no runs")
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Interval(mean, None, None, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = (_T[count - 2] if count - 1 <= len(_T) else _Z) * spread / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95% Wilson score interval of hits / total; (0, 1) for no trials."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
