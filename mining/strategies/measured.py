"""The limits that a strategy measures on the store, such as a similarity floor and the edges of its levels.

The held-out side of `--hold-out` has fewer images, so an image's nearest ones are less similar there. It takes the
limits of the training side, so that a level means the same on both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mining.strategies.bands import BANDS, equal_bands, equal_edges
from mining.strategies.context import MiningContext

__all__ = ["Measured"]


class Measured:
    """Limits by name, as `Candidates.measured` has them: those in `ctx.measured`, and else what is measured here."""

    def __init__(self, ctx: MiningContext) -> None:
        self._given = ctx.measured
        self.values: dict[str, float] = {}
        self._taken = False

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for the summary if limits were taken from the training side."""
        return ("limits and levels are those of the training side",) if self._taken else ()

    def settle(self, name: str, own: float) -> float:
        """The limit of that name; own: what was measured on this side."""
        self._taken |= name in self._given
        self.values[name] = self._given.get(name, own)
        return self.values[name]

    def levels(self, values: npt.NDArray[np.floating], below: float, of: str = "") -> npt.NDArray[np.int32]:
        """int32 [n]: `equal_bands` of the values under `below`; of: the beginning of the names of the edges."""
        names = [f"{of}level {level} below" for level in range(BANDS, 1, -1)]
        given = [self._given[name] for name in names if name in self._given]
        edges = given or equal_edges(values, below)
        # Without a value under `below` there are no edges.
        return equal_bands(values, below, [self.settle(*each) for each in zip(names, edges, strict=False)])
