"""The nearest rows of sampled anchors among the rows that a selection has for the same concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.context import MapItems, MiningContext
from mining.strategies.minable import Minable, concept_rows
from mining.strategies.neighbors.nearest import scan_rows
from mining.strategies.neighbors.similarity import similarities
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, read_arrays, write_array, write_arrays

__all__ = ["ConceptNeighbors", "nearest_in_concepts"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ConceptNeighbors:
    """For each of a anchors: its row [a], its concept's place in `names` [a], and its neighbours within the concept:
    ids int64 [a, k] by falling similarity float32 [a, k], -1 and -inf where there are fewer than k."""

    anchors: RowIds
    concept: RowIds
    names: pa.StringArray
    ids: RowIds
    similarity: Floats


@dataclass(frozen=True)
class ConceptItem:
    """The rows of one concept: positions start .. stop - 1 of the file of all concepts' rows."""

    code: int
    start: int
    stop: int
    anchors: int
    k: int


def nearest_in_concepts(
    ctx: MiningContext, map_items: MapItems, minable: Minable, anchors: int, k: int
) -> ConceptNeighbors:
    """The k nearest images of about `anchors` rows, equally many of each concept of the selection, an item a concept.

    All rows of a concept are compared. A row that was retrieved for several concepts may be an anchor in each.
    """
    names, rows, starts = concept_rows(minable, str(ctx.config.selection))
    bounds = starts.tolist()
    write_array(ctx, "concept_rows.npy", rows)
    each = max(1, -(-anchors // max(1, len(names))))
    items = [
        ConceptItem(code, bounds[code], bounds[code + 1], min(each, bounds[code + 1] - bounds[code]), k)
        for code in range(len(names))
        if bounds[code + 1] - bounds[code] > 1
    ]
    map_items(concept_item, items, f"mine {ctx.strategy}: neighbours within concepts")
    found = [read_arrays(ctx, _file(item)) for item in items]
    return ConceptNeighbors(
        np.concatenate([np.empty(0, np.int64), *(one["anchors"] for one in found)]),
        np.repeat([item.code for item in items], [item.anchors for item in items]).astype(np.int64),
        names,
        np.concatenate([np.empty((0, k), np.int64), *(one["ids"] for one in found)]),
        np.concatenate([np.empty((0, k), np.float32), *(one["scores"] for one in found)]),
    )


def concept_item(item: ConceptItem, ctx: MiningContext) -> int:
    """Write the neighbours of a concept's anchors; returns the number of anchors."""
    if has_arrays(ctx, _file(item)):
        return item.anchors
    rows = read_array(ctx, "concept_rows.npy")[item.start : item.stop]
    drawn = ctx.random("anchors", item.code).choice(len(rows), item.anchors, replace=False, shuffle=False)
    anchors = rows[np.sort(drawn)]
    store = ctx.open_store()
    queries = store.gather("image", anchors).astype(np.float32)
    _, ids = scan_rows(Minable(store, rows), "image", 0, len(rows), queries, item.k + 1)
    ids[ids == anchors[:, None]] = -1
    known = ids >= 0
    exact = np.full(ids.shape, -np.inf, np.float32)  # the last bits of a matrix product depend on the batch
    pairs = np.stack([np.broadcast_to(anchors[:, None], ids.shape)[known], ids[known]], axis=1)
    exact[known] = similarities(store, "image", pairs)
    order = np.lexsort((ids, -exact), axis=1)[:, : item.k]
    missing = ((0, 0), (0, max(0, item.k - order.shape[1])))
    write_arrays(
        ctx,
        _file(item),
        anchors=anchors,
        ids=np.pad(np.take_along_axis(ids, order, axis=1), missing, constant_values=-1),
        scores=np.pad(np.take_along_axis(exact, order, axis=1), missing, constant_values=-np.inf),
    )
    return item.anchors


def _file(item: ConceptItem) -> str:
    return f"concept_{item.code:06d}.npz"
