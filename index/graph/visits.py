"""Which shards a query visits, where rows are grouped by meaning.

A shard is as near to a query as the nearest of its cells. Captions lie apart from all images, so the score of the
nearest cell tells little by itself; but it is the same gap to all cells, and differences count. A query visits the
shards whose scores are within a margin of the best one: where a few cells stand out these are few, where many are
equally near, many. The margin is measured with captions (`index.graph.measure_visits`): the ten best rows of most of
them must lie in the shards that they visit. More rows lie farther apart, so the margin grows with the logarithm of k.

Rows that a search must not return do not count: the best cell is one of which at least half of the rows are wanted, and
k is counted with the unwanted rows in the query's nearest cells. And the visited shards hold at least eight times as
many wanted rows as are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.files import is_local
from index.graph.cells import on_grid
from index.graph.layout import Layout, ShardFile
from index.graph.listed_rows import listed_places
from index.graph.margins import Margins
from index.graph.shard_files import shard_file
from index.graph.unwanted import in_sorted

__all__ = ["Visits", "open_visits"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
RowLists = tuple[npt.NDArray[Any], npt.NDArray[Any]]

# Cells near a query whose unwanted rows may stand before its k best.
_NEAREST = 4
# Rows that the visited shards must hold for each result: a margin from 10 and 100 rows says nothing of half a shard.
_ROWS_PER_RESULT = 8
# Scores of queries and cells at once: 64 MB.
_SCORES = 16_000_000


class Visits:
    """The cells of an index's shards.

    Args:
        centroids: [cells, d] on the grid of `index.graph.cells`.
        table: int64 [m, 3], ordered: shard, cell, and how many rows of the cell the shard holds; each shard has a line.
        lists: opens (rows, their cells) of each shard.
        margins: None: every query visits all shards.
    """

    def __init__(
        self, centroids: Floats, table: Ids, lists: Callable[[], list[RowLists]], margins: Margins | None = None
    ) -> None:
        self.margins, self._open_lists = margins, lists
        self._known: tuple[Ids, Ids] | None = None  # forgotten rows, and how many each cell has
        self._centroids, self._cells, self._held = centroids, table[:, 1], table[:, 2]
        self._starts = np.flatnonzero(np.concatenate([[True], np.diff(table[:, 0]) != 0]))
        self._rows = np.add.reduceat(table[:, 2], self._starts)
        self._sizes = np.bincount(table[:, 1], weights=table[:, 2], minlength=len(centroids)).astype(np.int64)

    @property
    def shards(self) -> int:
        """The number of shards of the index."""
        return len(self._starts)

    @property
    def cells(self) -> int:
        """The number of cells."""
        return len(self._centroids)

    @cached_property
    def lists(self) -> list[RowLists]:
        """The rows of each shard of the index, ascending, and their cells."""
        return self._open_lists()

    def unwanted(self, forgotten: Ids, exclude: Ids | None = None) -> Ids | None:
        """int64 [cells]: how many forgotten or excluded rows each cell has; None where there are none of both.

        forgotten: ascending. exclude: in any order, also rows that are forgotten.
        """
        others = np.empty(0, np.int64) if exclude is None else np.unique(exclude)
        others = others[~in_sorted(others, forgotten)]
        if not len(forgotten) and not len(others):
            return None
        known = self._known
        if known is None or known[0] is not forgotten:  # a store gives the same array until it changes
            known = self._known = (forgotten, self._counted(forgotten))
        return known[1] + self._counted(others) if len(others) else known[1]

    def _counted(self, rows: Ids) -> Ids:
        """int64 [cells]: how many of the ascending rows each cell has."""
        counts = np.zeros(self.cells, np.int64)
        for listed, cells in self.lists if len(rows) else ():
            counts += np.bincount(cells[listed_places(listed, rows)], minlength=self.cells)
        return counts

    def scores(self, queries: Floats) -> Ids:
        """int64 [q, shards]: how near each shard is, in units of 1/2048^2; the same whatever else is in the batch."""
        step = max(1, _SCORES // self.cells)
        found = [self._of_shards(self._of_cells(queries[at : at + step])) for at in range(0, len(queries), step)]
        return np.concatenate(found) if found else np.empty((0, self.shards), np.int64)

    def chosen(self, queries: Floats, k: int, unwanted: Ids | None = None) -> Bools:
        """bool [q, shards]: the shards that each query visits for its k best rows.

        unwanted: int64 [cells], rows of each cell that the search does not return; None if there are none.
        """
        if self.margins is None:
            return np.ones((len(queries), self.shards), np.bool_)
        step = max(1, _SCORES // self.cells)
        found = [self._chosen(queries[at : at + step], k, unwanted) for at in range(0, len(queries), step)]
        return np.concatenate(found) if found else np.empty((0, self.shards), np.bool_)

    def _chosen(self, queries: Floats, k: int, unwanted: Ids | None) -> Bools:
        assert self.margins is not None
        cells = self._of_cells(queries)
        shards = self._of_shards(cells)
        wide = np.full(len(queries), k, np.float64)
        if unwanted is None or not unwanted.any():
            best = shards.max(axis=1)
        else:
            half = 2 * unwanted <= self._sizes
            best = np.where(half, cells, -math.inf).max(axis=1)  # -inf: all shards are visited
            most = min(_NEAREST, self.cells)
            near = np.argpartition(-cells, most - 1, axis=1)[:, :most]
            wide = 2 * wide + unwanted[near].sum(axis=1)
        least = np.minimum(best - self.margins.of(wide), self._enough(shards, self._rows, wide))
        if unwanted is not None and unwanted.any():
            share = 1 - unwanted / np.maximum(self._sizes, 1)
            wanted = np.add.reduceat(self._held * share[self._cells], self._starts)
            least = np.minimum(least, self._enough(shards, wanted, np.full(len(queries), k, np.float64)))
        visited: Bools = shards >= least[:, None]
        return visited

    def _enough(self, shards: Ids, rows: npt.NDArray[Any], k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The score of the last shard that must be visited, so that they hold many times the k rows; -inf for all.

        rows: of each shard.
        """
        if rows.min() >= _ROWS_PER_RESULT * k.max():
            return np.full(len(shards), math.inf)
        order = np.argsort(-shards, axis=1, kind="stable")
        held = np.cumsum(rows[order], axis=1) >= _ROWS_PER_RESULT * k[:, None]
        last = np.take_along_axis(shards, order, axis=1)[np.arange(len(shards)), held.argmax(axis=1)]
        return np.where(held.any(axis=1), last, -math.inf)

    def _of_cells(self, queries: Floats) -> Floats:
        return on_grid(queries) @ self._centroids.T

    def _of_shards(self, cells: Floats) -> Ids:
        return np.maximum.reduceat(cells[:, self._cells], self._starts, axis=1).astype(np.int64)


def open_visits(folder: Path, layout: Layout, margins: Margins | None) -> Visits:
    """The cells of a layout's shards, from its files in the index's folder.

    Raises:
        StoreInvalid: a file is missing or damaged (of a remote store; others are checked when the index is opened).
    """

    def lists() -> list[RowLists]:
        files = [(one.ids, one.cells) for grouping in layout.groupings for one in grouping.lists]
        return [(_mapped(folder, ids), _mapped(folder, cells)) for ids, cells in files]

    # Mapped now, since a build of another index removes them; those of a remote store are copied when they are needed.
    mapped = lists() if is_local(folder) else None
    centroids = np.load(shard_file(folder, layout.centroids), allow_pickle=False)
    tables: list[Ids] = []
    shards = 0
    for grouping in layout.groupings:
        table = np.load(shard_file(folder, grouping.table), allow_pickle=False)
        tables.append(np.stack([table[:, 0] + shards, table[:, 1], table[:, 3] - table[:, 2]], axis=1))
        shards += len(grouping.lists)
    return Visits(centroids, np.concatenate(tables), lists if mapped is None else lambda: mapped, margins)


def _mapped(folder: Path, file: ShardFile) -> npt.NDArray[Any]:
    mapped: npt.NDArray[Any] = np.load(shard_file(folder, file), mmap_mode="r", allow_pickle=False)
    return mapped
