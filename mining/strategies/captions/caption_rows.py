"""The rows whose captions are parsed, cut into items: all that may be mined, or runs of rows that the seed draws.

A store of 400 million rows has far more pairs than anyone wants, so a strategy may parse a sample of it. The sample is
made of runs of consecutive rows, since reading one row of metadata decodes the thousand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.context import MiningContext
from mining.strategies.minable import Minable

__all__ = ["ITEM_ROWS", "LARGEST_SHARE", "MOST_ITEMS", "RowSlice", "captions_of", "row_slices", "rows_of"]

# Rows of an item: seconds of work, about 10 MB of captions.
ITEM_ROWS = 16_384
# Most items, since a task of the join reads a slice of each; 400 million rows make items of 800,000.
MOST_ITEMS = 512
# No task may hold more than an eighth of the captions, however few these are.
LARGEST_SHARE = 8
# Rows of a run, as many as a row group of the metadata (`index.store.metadata.ROW_GROUP_ROWS`).
RUN_ROWS = 1_000


@dataclass(frozen=True)
class RowSlice:
    """Positions start .. stop - 1 of the rows that may be mined, or some runs of rows among them, drawn by the seed.

    number: names its files. runs: how many runs of `RUN_ROWS`; None for all positions.
    """

    number: int
    start: int
    stop: int
    runs: int | None = None


def row_slices(count: int, most: int | None = None) -> list[RowSlice]:
    """Cut `count` rows into items of at most an eighth of them; depends on the arguments only.

    most: about how many rows to take, where there are more; every item then takes as many runs.
    """
    if most is None or count <= most:
        size = max(1, min(ITEM_ROWS, count // LARGEST_SHARE), -(-count // MOST_ITEMS))
        return [RowSlice(number, start, min(start + size, count)) for number, start in enumerate(range(0, count, size))]
    items = max(2 * LARGEST_SHARE, min(MOST_ITEMS, -(-most // ITEM_ROWS)))
    runs = max(1, round(most / items / RUN_ROWS))
    bounds = [count * number // items for number in range(items + 1)]
    return [RowSlice(number, bounds[number], bounds[number + 1], runs) for number in range(items)]


def rows_of(item: RowSlice, ctx: MiningContext, minable: Minable) -> npt.NDArray[np.int64]:
    """The row ids of an item, ascending, without forgotten rows."""
    if item.runs is None:
        return minable.rows(item.start, item.stop)
    runs = np.arange(item.start, item.stop, RUN_ROWS)
    drawn = np.sort(ctx.random("runs", item.number).choice(runs, min(item.runs, len(runs)), replace=False)).tolist()
    return np.concatenate([minable.rows(start, min(start + RUN_ROWS, item.stop)) for start in drawn])


def captions_of(table: pa.Table, which: str) -> list[list[str]]:
    """The texts of each row, from the columns caption and captions: the embedded `caption`, or `all` distinct ones."""
    captions: list[str | None] = table["caption"].to_pylist()
    if which == "caption":
        return [[one] if one else [] for one in captions]
    pairs = zip(captions, table["captions"].to_pylist(), strict=True)
    return [list(dict.fromkeys(filter(None, [one, *(many or [])]))) for one, many in pairs]
