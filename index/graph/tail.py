"""The rows that were added to a store after its index was built: an exact scan finds them until they are indexed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.graph.exact import exact_top_k
from index.graph.shards import best_of
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Tail"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

_BLOCK_ROWS = 65_536


class Tail:
    """Rows first .. store.rows - 1 of a store, searched exactly. Forgotten rows are never returned."""

    def __init__(self, store: EmbeddingStore, modality: Modality, first: int) -> None:
        self._store, self._modality, self._first = store, modality, first

    def __len__(self) -> int:
        return self._store.rows - self._first

    def add(
        self, queries: Floats, found: tuple[Floats, RowIds], k: int, exclude: RowIds | None = None
    ) -> tuple[Floats, RowIds]:
        """The k best of the results `found` (scores and rows, [q, k]) and of these rows, without the rows `exclude`."""
        blocks = self._store.blocks(self._modality, _BLOCK_ROWS, self._first)
        excluded = None if exclude is None else np.unique(exclude)
        return best_of([found, exact_top_k(blocks, queries, min(k, len(self)), excluded=excluded)], k)
