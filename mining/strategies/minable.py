"""Which rows may be mined, and seeded draws among them without a pass over the store.

Rows that were forgotten never come out; a Selection leaves its own rows alone. Knows no strategy.
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
    """Rows that may be mined: all of the store's but the forgotten, or those of a selection (`chosen`, ascending)."""

    store: EmbeddingStore
    chosen: RowIds | None = None

    @property
    def count(self) -> int:
        """Rows in all, before forgotten ones are taken away."""
        return self.store.rows if self.chosen is None else len(self.chosen)

    def rows(self, start: int, stop: int) -> RowIds:
        """Row ids at the positions start .. stop - 1 of `count`, forgotten ones left out."""
        ids = np.arange(start, stop, dtype=np.int64) if self.chosen is None else self.chosen[start:stop]
        kept: RowIds = ids[~self.store.is_forgotten(ids)]
        return kept

    def sample(self, count: int, random: np.random.Generator) -> RowIds:
        """Up to `count` different rows by chance, ascending. Costs what is drawn, not what the store holds."""
        drawn = random.choice(self.count, min(count, self.count), replace=False, shuffle=False)
        ids = drawn.astype(np.int64) if self.chosen is None else self.chosen[drawn]
        kept: RowIds = np.sort(ids[~self.store.is_forgotten(ids)])
        return kept

    def contains(self, row_ids: RowIds) -> npt.NDArray[np.bool_]:
        """A mask over `row_ids`, of any shape; ids below 0 are in no store."""
        known = row_ids >= 0 if self.chosen is None else mark_rows(row_ids, self.chosen)
        mask: npt.NDArray[np.bool_] = known & ~self.store.is_forgotten(row_ids)
        return mask


def minable_rows(ctx: MiningContext, store: EmbeddingStore) -> Minable:
    """What `ctx` may draw from. BadInput for a selection of another store, or too few rows for a set."""
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
    """The selection at `path`; BadInput when it was not retrieved from this store."""
    selection = Selection.open(path)
    recorded = selection.manifest["store"]
    if recorded.get("parts") is None or store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
        raise BadInput(f"{path}: was not retrieved from {store.path}; mine its own store, or retrieve again")
    return selection


def mark_rows(row_ids: RowIds, chosen: RowIds) -> npt.NDArray[np.bool_]:
    """Which of `row_ids`, of any shape, are among `chosen` (ascending)."""
    if not len(chosen):
        return np.zeros(row_ids.shape, np.bool_)
    places = np.minimum(np.searchsorted(chosen, row_ids), len(chosen) - 1)
    found: npt.NDArray[np.bool_] = chosen[places] == row_ids
    return found
