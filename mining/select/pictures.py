"""Which rows show the same picture, so that a store with a row a caption has no pair twice and keeps the limit on sets.

Rows show one picture where their image files have the same SHA-256, or, where that is not known (adopted embeddings),
where they have the same URL. A picture is named by the smallest of its row ids among those that are looked at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.store.embedding_store import EmbeddingStore

__all__ = ["Pictures"]

RowIds = npt.NDArray[np.int64]

# Rows whose metadata is read at a time: 64 hex digits each are 16 MB.
_BLOCK = 1 << 18


class Pictures:
    """The pictures of some rows of a store."""

    def __init__(self, store: EmbeddingStore, rows: RowIds) -> None:
        """rows: ids of any shape, of which any may come twice; negative ones stand for no row."""
        self._rows = np.unique(rows[rows >= 0])
        self._first = self._rows.copy()
        names = pa.chunked_array(
            [_names(store, self._rows[start : start + _BLOCK]) for start in range(0, len(self._rows), _BLOCK)],
            pa.large_string(),
        )
        codes = names.combine_chunks().dictionary_encode().indices
        known = codes.is_valid().to_numpy(zero_copy_only=False)
        # The rows are ascending and codes are numbered by first appearance, so a code's first row is its smallest.
        numbers = codes.drop_null().to_numpy()
        _, first = np.unique(numbers, return_index=True)
        self._first[known] = self._rows[known][first[numbers]]

    @property
    def repeated(self) -> int:
        """How many of the rows show the picture of a row before them."""
        return int((self._first != self._rows).sum())

    def of(self, rows: RowIds) -> RowIds:
        """The pictures of row ids of any shape, which must be among those that were given; -1 stays."""
        if not len(self._rows):
            return rows
        return np.where(rows >= 0, self._first[np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)], -1)


def _names(store: EmbeddingStore, rows: RowIds) -> pa.Array:
    """What names the picture of each row: the sum of its file, or its URL; null where neither is known."""
    table = store.metadata(rows, ["sha256", "url"])
    digest, url = (pc.cast(table[name], pa.large_string()) for name in ("sha256", "url"))
    known = (pc.if_else(pc.equal(each, ""), None, each) for each in (digest, url))
    names = pc.coalesce(*known)
    return names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
