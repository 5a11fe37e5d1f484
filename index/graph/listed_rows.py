"""Some rows of a store, read as if they were a store of their own: a row's id here is its position in the list.

So a shard that holds a list of rows is built and searched as one that holds consecutive rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.files import disk_full
from index.npy_stream import start_npy
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["ListedRows", "listed_places"]

RowIds = npt.NDArray[np.int64]

_BLOCK_ROWS = 65_536


class ListedRows(EmbeddingStore):
    """The rows `listed` (ascending, uint32 or int64) of a store: its vectors, and which of them are forgotten.

    Only what is defined here speaks of positions in the list; do not use metadata or parts.
    """

    def __init__(self, store: EmbeddingStore, listed: npt.NDArray[np.integer[Any]]) -> None:
        super().__init__(store.path, store.manifest)
        self._store, self.listed = store, listed
        self._copies: dict[Modality, npt.NDArray[Any]] = {}
        self._known: tuple[RowIds, RowIds] | None = None

    @property
    def rows(self) -> int:
        """Length of the list."""
        return len(self.listed)

    @property
    def forgotten(self) -> RowIds:
        """Positions of the forgotten rows of the list, ascending."""
        forgotten = self._store.forgotten
        known = self._known
        if known is None or known[0] is not forgotten:  # the store gives the same array until it changes
            known = self._known = (forgotten, listed_places(self.listed, forgotten))
        return known[1]

    def row_ids(self, positions: RowIds) -> RowIds:
        """The store's row ids of positions of any shape; -1 stays -1."""
        if not len(self.listed):
            return positions
        return np.where(positions < 0, -1, self.listed[np.maximum(positions, 0)].astype(np.int64))

    def blocks(
        self, modality: Modality, size: int = _BLOCK_ROWS, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, npt.NDArray[np.floating[Any]]]]:
        """Yield `(first position, vectors)`, as the store's `blocks`."""
        stop = self.rows if stop is None else min(stop, self.rows)
        for first in range(start, stop, size):
            yield first, self.gather(modality, np.arange(first, min(first + size, stop)))

    def gather(
        self, modality: Modality, row_ids: Sequence[int] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating[Any]]:
        """Vectors of positions, as the store's `gather`."""
        positions = np.asarray(row_ids, np.int64)
        copied = self._copies.get(modality)
        if copied is not None:
            return np.asarray(copied[positions])
        return self._store.gather(modality, self.listed[positions].astype(np.int64))

    def copy_rows(self, modality: Modality, first: int, last: int) -> None:
        """Nothing: the parts that hold rows of the list are copied as they are read."""

    def copy_to(self, file: Path, modality: Modality) -> None:
        """Read all vectors once, in the order of the store, into a file; from then on they are read from it.

        A list's rows lie scattered over all parts, and a shard is read several times. What is forgotten stays as it was
        when it was read.
        """
        with disk_full(file), open(file, "wb") as stream:
            start_npy(stream, self.manifest.dtype, (self.rows, self.dim))
            for _, vectors in self.blocks(modality):
                stream.write(np.ascontiguousarray(vectors).data)
        self._copies[modality] = np.load(file, mmap_mode="r", allow_pickle=False)


def listed_places(listed: npt.NDArray[np.integer[Any]], rows: RowIds) -> RowIds:
    """The positions in the list (ascending) of those of the ascending `rows` that are in it."""
    if not len(listed) or not len(rows):
        return np.empty(0, np.int64)
    low, high = np.searchsorted(rows, [int(listed[0]), int(listed[-1]) + 1])
    asked = rows[low:high].astype(listed.dtype)  # else numpy would widen the whole list
    places: RowIds = np.minimum(np.searchsorted(listed, asked), len(listed) - 1).astype(np.int64)
    found: RowIds = places[listed[places] == asked]
    return found
