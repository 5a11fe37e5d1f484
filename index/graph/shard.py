"""One shard of an index: its graph, and which rows of the store its nodes stand for.

A node stands for one row, its copies (rows with the same vector, see `index.graph.copies`) and, where it leads a crowd,
nearly equal rows and their copies (see `index.graph.crowds`). Rows without a direction have no node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.graph.copies import Copies
from index.graph.hnsw import falls_short, open_graph, search_graph, search_graph_from, usable_rows
from index.graph.index_manifest import ShardRecord
from index.graph.inverted_lists import is_lists
from index.graph.listed_rows import ListedRows, listed_places
from index.graph.members import Crowds
from index.graph.shard_files import shard_file
from index.graph.unwanted import Unwanted, in_sorted
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Shard", "drop_own_row", "open_shard"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One open graph and the rows first_row .. first_row + rows - 1 of the store, which it holds.

    Positions are row ids minus first_row. skipped: positions that have no node of their own, ascending.

    A shard of listed rows has a `view` of the store in which they are the rows 0 .. rows - 1; everything here but
    `to_store` and `from_store` then speaks of the view's rows. number: position in the index.
    """

    graph: Any
    first_row: int
    rows: int
    skipped: RowIds
    copies: Copies
    crowds: Crowds
    number: int = 0
    view: ListedRows | None = None

    def to_store(self, rows: RowIds) -> RowIds:
        """The store's row ids of this shard's; -1 stays -1."""
        return rows if self.view is None else self.view.row_ids(rows)

    def from_store(self, rows: RowIds) -> RowIds:
        """This shard's row ids of those of the store's, ascending, that it may hold."""
        return rows if self.view is None else listed_places(self.view.listed, rows)

    @cached_property
    def nodes_are_rows(self) -> bool:
        """Whether node numbers are row ids as they are."""
        return not self.first_row and not len(self.skipped)

    @property
    def indexed(self) -> int:
        """Rows that can be found."""
        return int(self.graph.ntotal) + len(self.copies) + len(self.crowds.members)

    @cached_property
    def _shift(self) -> RowIds:
        # Node n is at position n + the number of skipped positions before it.
        return self.skipped - np.arange(len(self.skipped))

    def search(self, queries: Floats, k: int, ef_search: int) -> tuple[Floats, RowIds]:
        """The k nearest rows of this shard; -inf and -1 where fewer were found."""
        # With crowds, the last candidate's score decides which leaders are near enough.
        scores, nodes = search_graph(self.graph, queries, ef_search if len(self.crowds) else k, ef_search)
        return self._answers(queries, scores, nodes, k)

    def search_own(self, queries: Floats, own: RowIds, k: int, ef_search: int) -> tuple[Floats, RowIds]:
        """The k rows of this shard that are nearest to each of the rows `own` [q], whose vectors are `queries`.

        The row itself is not returned. If it has a node in this shard that it does not share, the walk starts there.
        """
        nodes = self._nodes(own)
        scores, rows = np.empty((len(own), k), np.float32), np.empty((len(own), k), np.int64)
        here = np.flatnonzero(nodes >= 0)
        if len(here):
            asked = np.ascontiguousarray(queries[here])
            found = search_graph_from(self.graph, asked, nodes[here], k, ef_search)
            scores[here], rows[here] = self._answers(asked, *found, k)
        away = np.flatnonzero(nodes < 0)
        if len(away):
            found = self.search(np.ascontiguousarray(queries[away]), k + 1, max(ef_search, k + 1))
            scores[away], rows[away] = drop_own_row(*found, own[away])
        return scores, rows

    def _nodes(self, rows: RowIds) -> RowIds:
        """The nodes of rows; -1 for a row of another shard, without a node, or with a shared one."""
        positions = rows - self.first_row
        nodes = positions - np.searchsorted(self.skipped, positions)
        known = (positions >= 0) & (positions < self.rows) & ~in_sorted(positions, self.skipped)
        shared = in_sorted(positions, self.copies.owners) | in_sorted(positions, self.crowds.nodes)
        return np.where(known & ~shared, nodes, -1)

    def _answers(self, queries: Floats, scores: Floats, nodes: RowIds, k: int) -> tuple[Floats, RowIds]:
        if self.nodes_are_rows:
            clear_missing(scores, nodes)
            return scores, nodes
        positions = self.positions(scores, nodes)
        if len(self.crowds):
            scores, positions = self.crowds.join(queries, scores, positions, k, self.copies, None)
        if len(self.copies) or positions.shape[1] != k:
            scores, positions = self.copies.expand(scores, positions, k)
        return scores, self.row_ids(positions)

    def positions(self, scores: Floats, nodes: RowIds) -> RowIds:
        """The positions of nodes; where nodes are missing, -1, and the scores are set to -inf."""
        clear_missing(scores, nodes)
        positions = nodes.copy()
        if len(self.skipped):
            positions += np.searchsorted(self._shift, nodes, side="right")
            positions[nodes < 0] = -1
        return positions

    def row_ids(self, positions: RowIds) -> RowIds:
        """Row ids of positions; -1 stays -1."""
        return np.where(positions < 0, -1, positions + self.first_row) if self.first_row else positions

    def stored(self, rows: RowIds) -> Floats:
        """The vectors, as the graph stores them, of those of the ascending row ids that have a node of their own."""
        low, high = np.searchsorted(rows, [self.first_row, self.first_row + self.rows])
        positions = rows[low:high] - self.first_row
        return node_vectors(self.graph, self.skipped, positions[~in_sorted(positions, self.skipped)])

    def unwanted(self, rows: RowIds) -> Unwanted | None:
        """What the ascending row ids mean in this shard; None if none of them can be found in it."""
        low, high = np.searchsorted(rows, [self.first_row, self.first_row + self.rows])
        positions = rows[low:high] - self.first_row
        nodeless = in_sorted(positions, self.skipped)
        if nodeless.any():  # rows that had been forgotten before the index was built are not in it
            nodeless[nodeless] = ~(self.copies.has(positions[nodeless]) | self.crowds.has(positions[nodeless]))
            positions = positions[~nodeless]
        return Unwanted(positions, self.copies.places(positions)) if len(positions) else None


def node_vectors(graph: Any, skipped: RowIds, positions: RowIds) -> Floats:
    """Vectors fp32 [n, d] of positions with nodes, from the graph: in the store, they may be forgotten."""
    nodes = positions - np.searchsorted(skipped, positions)
    if is_lists(graph) and len(nodes):
        graph.make_direct_map(True)  # where each row is in the lists; does nothing when it is there
    found: Floats = graph.reconstruct_batch(nodes) if len(nodes) else np.empty((0, graph.d), np.float32)
    return found


def leader_vectors(
    store: EmbeddingStore, modality: Modality, first_row: int, graph: Any, skipped: RowIds, positions: RowIds
) -> Floats:
    """Vectors fp32 [n, d] of positions with nodes, by the store; by the graph of those that are forgotten."""
    vectors = store.gather(modality, positions + first_row).astype(np.float32)
    hidden = np.flatnonzero(~usable_rows(vectors))
    vectors[hidden] = node_vectors(graph, skipped, positions[hidden])
    return vectors


def clear_missing(scores: Floats, nodes: RowIds) -> None:
    """Set the scores of missing nodes to -inf; faiss's filler is the least float."""
    if falls_short(nodes):
        scores[nodes < 0] = -np.inf


def drop_own_row(scores: Floats, ids: RowIds, own: RowIds) -> tuple[Floats, RowIds]:
    """Remove from each result [q, n] the row `own` [q], or the last one if it is not there; give [q, n - 1]."""
    n = ids.shape[1]
    is_own = ids == own[:, None]
    place = np.where(is_own.any(axis=1), is_own.argmax(axis=1), n - 1)
    kept = np.arange(n)[None, :] != place[:, None]
    return scores[kept].reshape(len(ids), n - 1), ids[kept].reshape(len(ids), n - 1)


def open_shard(folder: Path, record: ShardRecord, store: EmbeddingStore, modality: Modality) -> Shard:
    """Memory-map the graph of one shard of the index in `folder`, and read which rows its nodes stand for.

    Raises:
        StoreInvalid: a file is not what the record says.
    """
    files = {end: shard_file(folder, file) for end, file in record.files.items()}
    graph = open_graph(files["faiss"])
    skipped = np.load(files["skipped.npy"], allow_pickle=False)
    shared = np.load(files["copies.npy"], allow_pickle=False)
    counts = (graph.ntotal, graph.d, len(skipped), shared.shape)
    nodes = record.indexed - record.copies
    if counts != (nodes, store.dim, record.rows - nodes, (record.copies, 3)):
        raise StoreInvalid(f"{folder / record.file}: is not what index.json says; run `clipmine index` again")
    leaders, owners, positions = (np.ascontiguousarray(column) for column in shared.T)
    is_copy = owners != positions
    near = np.flatnonzero(~is_copy)
    near = near[np.argsort(leaders[near], kind="stable")]
    view, first = None, record.first_row
    if "rows.npy" in files:
        listed = np.load(files["rows.npy"], mmap_mode="r", allow_pickle=False)
        if listed.shape != (record.rows,):
            raise StoreInvalid(f"{folder / record.file}: is not what index.json says; run `clipmine index` again")
        view, first = ListedRows(store, listed), 0
    source = view or store
    vectors = partial(leader_vectors, source, modality, first, graph, skipped)
    crowds = Crowds(source, modality, first, leaders[near], positions[near], vectors)
    copies = Copies(owners[is_copy], positions[is_copy])
    return Shard(graph, first, record.rows, skipped, copies, crowds, record.number, view)
