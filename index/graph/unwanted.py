"""The rows of a shard that a search must not return: the forgotten ones, and those that one call excludes.

Nothing here takes time in proportion to the rows of the shard, since one call may exclude a single row of millions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Unwanted", "in_sorted", "merge_sorted"]

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Unwanted:
    """Unwanted rows of one shard.

    Attributes:
        positions: int64, ascending, their positions in the shard.
        copies: int64, ascending, the places of those of them that are in the shard's table of copies.
    """

    positions: Ids
    copies: Ids

    def has(self, positions: Ids) -> npt.NDArray[np.bool_]:
        """Which of the positions, of any shape, are unwanted."""
        return in_sorted(positions, self.positions)

    def plus(self, other: Unwanted) -> Unwanted:
        """What either holds."""
        return Unwanted(merge_sorted(self.positions, other.positions), merge_sorted(self.copies, other.copies))


def in_sorted(values: Ids, ordered: Ids) -> npt.NDArray[np.bool_]:
    """Which of the values, of any shape, are in `ordered` (ascending); logarithmic in its length, unlike np.isin."""
    if not len(ordered):
        return np.zeros(values.shape, np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[places] == values
    return found


def merge_sorted(many: Ids, few: Ids) -> Ids:
    """The union, ascending and distinct; `many` is ascending and distinct, `few` is in any order."""
    extra = np.unique(few)
    if not len(many):
        return extra
    extra = extra[~in_sorted(extra, many)]
    return np.insert(many, np.searchsorted(many, extra), extra) if len(extra) else many
