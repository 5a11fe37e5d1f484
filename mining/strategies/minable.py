"""The rows that may be mined: all of a store, or those of a Selection, without the forgotten ones.

Samples are drawn by position, so they take no pass over the store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningContext
from retrieval.selection import Selection, store_identity

__all__ = ["Minable", "mark_rows", "minable_rows", "open_selection"]

RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Minable:
    """The rows of `store` that may be mined; chosen: ascending row ids to restrict them to, None for all."""

    store: EmbeddingStore
    chosen: RowIds | None = None

    @property
    def count(self) -> int:
        """The number of rows, forgotten ones included."""
        return self.store.rows if self.chosen is None else len(self.chosen)

    def rows(self, start: int, stop: int) -> RowIds:
        """The row ids at positions start .. stop - 1 of `count`, without forgotten ones."""
        ids = np.arange(start, stop, dtype=np.int64) if self.chosen is None else self.chosen[start:stop]
        kept: RowIds = ids[~self.store.is_forgotten(ids)]
        return kept

    def sample(self, count: int, random: np.random.Generator) -> RowIds:
        """Up to `count` different random rows, ascending; the cost does not depend on the size of the store."""
        drawn = random.choice(self.count, min(count, self.count), replace=False, shuffle=False)
        ids = drawn.astype(np.int64) if self.chosen is None else self.chosen[drawn]
        kept: RowIds = np.sort(ids[~self.store.is_forgotten(ids)])
        return kept


def minable_rows(ctx: MiningContext, store: EmbeddingStore) -> Minable:
    """The rows that a strategy may use. Raises BadInput for a selection of another store, or fewer than two rows."""
    chosen = None
    if ctx.config.selection is not None:
        selection = open_selection(ctx.config.selection, store)
        chosen = np.unique(selection.table(["row_id"])["row_id"].to_numpy()).astype(np.int64)
    minable = Minable(store, chosen)
    left = minable.count - (len(store.forgotten) if chosen is None else int(store.is_forgotten(chosen).sum()))
    if left < 2:
        where = store.path if ctx.config.selection is None else ctx.config.selection
        rows = "1 row" if left == 1 else f"{left} rows"
        raise BadInput(f"{where}: has {rows} that may be mined, and a pair needs two; embed or select more images")
    return minable


def open_selection(path: str, store: EmbeddingStore) -> Selection:
    """The selection at `path`. Raises BadInput when it was not retrieved from this store."""
    selection = Selection.open(path)
    recorded = selection.manifest["store"]
    if recorded.get("parts") is None or store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
        raise BadInput(f"{path}: was not retrieved from {store.path}; mine its own store, or retrieve again")
    return selection


def mark_rows(row_ids: RowIds, chosen: RowIds) -> npt.NDArray[np.bool_]:
    """A mask over `row_ids` of any shape: which are in `chosen` (ascending)."""
    if not len(chosen):
        return np.zeros(row_ids.shape, np.bool_)
    places = np.minimum(np.searchsorted(chosen, row_ids), len(chosen) - 1)
    found: npt.NDArray[np.bool_] = chosen[places] == row_ids
    return found
