"""One shard of an index: its graph, and which rows of the store its nodes stand for.

A node of a graph stands for one row or for a group of equal rows. Rows without a direction have no node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.graph.copies import Copies
from index.graph.hnsw import falls_short, open_graph, search_graph, search_graph_from
from index.graph.index_manifest import ShardRecord

__all__ = ["Keep", "Shard", "drop_own_row", "open_shard"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Keep:
    """What may be returned of a shard: a faiss selector of nodes, and the remaining copies."""

    selector: Any
    copies: Copies


@dataclass(frozen=True)
class Shard:
    """One open graph and the rows of the store that it holds."""

    graph: Any
    first_row: int
    rows: int
    skipped: RowIds  # positions that have no node of their own, ascending
    copies: Copies

    @cached_property
    def _nodes_are_rows(self) -> bool:
        return not self.first_row and not len(self.skipped)

    @cached_property
    def _shift(self) -> RowIds:
        # Node n is at position n + the number of skipped positions before it.
        return self.skipped - np.arange(len(self.skipped))

    def search(self, queries: Floats, k: int, ef_search: int, keep: Keep | None) -> tuple[Floats, RowIds]:
        """The k nearest rows of this shard; -inf and -1 where fewer were found."""
        scores, nodes = search_graph(self.graph, queries, k, ef_search, keep.selector if keep is not None else None)
        return self._answers(scores, nodes, keep)

    def search_own(self, queries: Floats, own: RowIds, k: int, ef_search: int) -> tuple[Floats, RowIds]:
        """The k rows of this shard that are nearest to each of the rows `own` [q], whose vectors are `queries`.

        The row itself is not returned. If it has a node in this shard that it does not share, the walk starts there.
        """
        nodes = self._nodes(own)
        scores, rows = np.empty((len(own), k), np.float32), np.empty((len(own), k), np.int64)
        here = np.flatnonzero(nodes >= 0)
        if len(here):
            found = search_graph_from(self.graph, np.ascontiguousarray(queries[here]), nodes[here], k, ef_search)
            scores[here], rows[here] = self._answers(*found, None)
        away = np.flatnonzero(nodes < 0)
        if len(away):
            found = self.search(np.ascontiguousarray(queries[away]), k + 1, max(ef_search, k + 1), None)
            scores[away], rows[away] = drop_own_row(*found, own[away])
        return scores, rows

    def _nodes(self, rows: RowIds) -> RowIds:
        """The nodes of rows; -1 for a row of another shard, without a node, or with a shared one."""
        positions = rows - self.first_row
        nodes = positions - np.searchsorted(self.skipped, positions)
        known = (positions >= 0) & (positions < self.rows) & ~np.isin(positions, self.skipped)
        return np.where(known & ~np.isin(nodes, self.copies.nodes), nodes, -1)

    def _answers(self, scores: Floats, nodes: RowIds, keep: Keep | None) -> tuple[Floats, RowIds]:
        if falls_short(nodes):
            scores[nodes < 0] = -np.inf  # faiss's filler is the least float
        if self._nodes_are_rows:
            return scores, nodes
        copies = keep.copies if keep is not None else self.copies
        if not len(copies):
            return scores, self.to_rows(nodes)
        scores, positions = copies.expand(scores, nodes, self._positions(nodes))
        positions[positions >= 0] += self.first_row
        return scores, positions

    def to_rows(self, nodes: RowIds) -> RowIds:
        """Row ids of node numbers; -1 stays -1."""
        rows = self._positions(nodes)
        rows[rows >= 0] += self.first_row
        return rows

    def _positions(self, nodes: RowIds) -> RowIds:
        positions = nodes.copy()
        if len(self.skipped):
            positions += np.searchsorted(self._shift, nodes, side="right")
        positions[nodes < 0] = -1
        return positions

    def keep(self, unwanted: RowIds) -> Keep | None:
        """What is left without the sorted row ids; None when all may be returned."""
        import faiss

        low, high = np.searchsorted(unwanted, [self.first_row, self.first_row + self.rows])
        if low == high:
            return None
        gone = unwanted[low:high] - self.first_row
        wanted = np.ones(self.rows, np.bool_)
        wanted[gone] = False
        if len(self.skipped):
            wanted = np.delete(wanted, self.skipped)
        copies = self.copies
        if len(copies):
            copies = copies.without(gone, np.flatnonzero(~wanted))
            wanted[copies.nodes] = True  # a node stays while one of its rows may be returned
        return Keep(faiss.IDSelectorBitmap(np.packbits(wanted, bitorder="little")), copies)


def drop_own_row(scores: Floats, ids: RowIds, own: RowIds) -> tuple[Floats, RowIds]:
    """Remove from each result [q, n] the row `own` [q], or the last one if it is not there; give [q, n - 1]."""
    n = ids.shape[1]
    is_own = ids == own[:, None]
    place = np.where(is_own.any(axis=1), is_own.argmax(axis=1), n - 1)
    kept = np.arange(n)[None, :] != place[:, None]
    return scores[kept].reshape(len(ids), n - 1), ids[kept].reshape(len(ids), n - 1)


def open_shard(folder: Path, record: ShardRecord, dim: int) -> Shard:
    """Memory-map the graph of one shard of the index in `folder`, and read which rows its nodes stand for.

    Raises:
        StoreInvalid: a file is not what the record says.
    """
    graph = open_graph(folder / record.file)
    skipped = np.load(folder / record.skipped_file, allow_pickle=False)
    shared = np.load(folder / record.copies_file, allow_pickle=False)
    counts = (graph.ntotal, graph.d, len(skipped), shared.shape)
    nodes = record.indexed - record.copies
    if counts != (nodes, dim, record.rows - nodes, (record.copies, 2)):
        raise StoreInvalid(f"{folder / record.file}: is not what index.json says; run `clipmine index` again")
    copies = Copies(shared[:, 0].copy(), shared[:, 1].copy(), np.empty(0, np.int64))
    return Shard(graph, record.first_row, record.rows, skipped, copies)
