"""How much worse than the best shard for a query another one may be, to be visited (`index.graph.visits`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Margins"]


@dataclass(frozen=True)
class Margins:
    """How much worse than the best shard's a visited shard's score may be, to find the 10 and the 100 best rows.

    In units of 1/2048^2, in which scores are whole numbers.
    """

    at_10: int
    at_100: int

    def of(self, k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The margin for the k best rows, by a line through the logarithms."""
        decades = np.log10(np.maximum(k, 10)) - 1
        grown: npt.NDArray[np.float64] = self.at_10 + np.ceil(decades * max(self.at_100 - self.at_10, 0))
        return grown
