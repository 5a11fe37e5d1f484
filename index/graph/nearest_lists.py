"""The nearest rows found so far, for each of many queries, while blocks of rows are compared with some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["GROUP_ROWS", "NearestLists", "smallest", "smallest_on_device"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

# Rows that can be compared in one block: distance and column share a key of 31 bits, which numpy partitions by vector
# instructions, four times as fast as pairs of numbers.
GROUP_ROWS = 4_096
_COLUMN_BITS, _DROPPED_BITS = 12, 3
_MOST = (1 << 22) - 1
_NONE = np.int64(1) << 62


def smallest(distances: Floats, k: int) -> tuple[Numbers, Numbers]:
    """The k smallest of each row of whole numbers [n, m], m <= GROUP_ROWS: columns and values, in no order.

    Values are rounded down to multiples of 8; from 2^22 on they count as equal. Of equal ones the first are taken.
    """
    keys = np.minimum(distances, np.float32(_MOST)).astype(np.int32)
    keys >>= _DROPPED_BITS
    keys <<= _COLUMN_BITS
    keys |= np.arange(keys.shape[1], dtype=np.int32)
    if k < keys.shape[1]:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    return _columns_and_values(keys)


def smallest_on_device(distances: torch.Tensor, k: int) -> tuple[Numbers, Numbers]:
    """The same as `smallest`, of distances on a GPU."""
    import torch

    keys = distances.clamp(max=_MOST).to(torch.int32) >> _DROPPED_BITS << _COLUMN_BITS
    keys |= torch.arange(keys.shape[1], dtype=torch.int32, device=keys.device)
    if k < keys.shape[1]:
        keys = torch.topk(keys, k, dim=1, largest=False, sorted=False).values
    return _columns_and_values(keys.cpu().numpy())


def _columns_and_values(keys: Numbers) -> tuple[Numbers, Numbers]:
    return keys & (GROUP_ROWS - 1), (keys >> _COLUMN_BITS) << _DROPPED_BITS


class NearestLists:
    """For each of n queries the k nearest of all rows that were added for it; of equally near ones the lowest."""

    def __init__(self, n: int, k: int) -> None:
        self._keys, self._k = np.full((n, k), _NONE), k

    def add(self, queries: Ids, distances: Numbers, rows: npt.NDArray[np.integer]) -> None:
        """Add rows [q, m] with their distances, not negative, for distinct queries [q]."""
        new = (distances.astype(np.int64) << 32) | rows
        self._keys[queries] = _lowest(np.concatenate([self._keys[queries], new], axis=1), self._k)

    def rows(self, first: int, last: int) -> Numbers:
        """int32 [last - first, k]: the rows of those queries, nearest first; -1 where fewer were added."""
        keys = self._keys[first:last]
        return np.where(keys == _NONE, -1, keys & 0xFFFFFFFF).astype(np.int32)


def _lowest(keys: Ids, k: int) -> Ids:
    """The k lowest of each row, without repetitions."""
    keys.sort(axis=1)
    keys[:, 1:][keys[:, 1:] == keys[:, :-1]] = _NONE
    keys.sort(axis=1)
    return keys[:, :k]
