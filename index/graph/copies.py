"""Rows with the same vector share a node of the graph.

The web repeats its captions: hundreds of rows have the very same text vector. In a graph they would link to each other
and to nothing else, so that a walk that meets one such crowd fills its whole beam with it and stops. So the first of
them stands for all, and a search gives its copies beside it. Measured on 20,000 rows with web-like captions, 459
concept names as queries of captions: recall@10 .942 without and .994 with this at efSearch 64; 22 and 0 queries lost
more than half of their answers. Knows arrays, no graphs and no stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Copies", "find_copies", "hash_rows"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def hash_rows(vectors: npt.NDArray[np.floating[Any]]) -> Hashes:
    """uint64 [n, 2]: 128 bits of each row's bytes.

    That any two of a billion different rows agree has a chance below 1e-10.
    """
    words = np.ascontiguousarray(vectors).view(np.uint16).astype(np.uint64)
    factors = np.random.Generator(np.random.PCG64(2)).integers(0, 1 << 64, (words.shape[1], 2), np.uint64)
    # Sums of 16-bit words times random odd numbers, modulo 2^64: two rows that differ in a word agree in one sum with a
    # chance of 2^-47 at most. Faster than a digest a row.
    products: Hashes = words @ (factors | np.uint64(1))
    return products


def find_copies(hashes: Hashes, usable: npt.NDArray[np.bool_]) -> Ids:
    """int64 [n]: for each position the first usable one with the same hash, itself where it is the first or not usable.

    hashes: uint64 [n, 2]; usable: bool [n].
    """
    first = np.arange(len(hashes), dtype=np.int64)
    places = np.flatnonzero(usable)
    own = hashes[places]
    order = np.lexsort((places, own[:, 1], own[:, 0]))
    ordered = own[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    leaders = places[order[np.flatnonzero(new)]]
    first[places[order]] = leaders[np.cumsum(new) - 1] if len(order) else leaders
    return first


@dataclass(frozen=True)
class Copies:
    """Which positions share a node beside its own: nodes ascending int64 [m], positions int64 [m].

    gone: nodes, ascending, whose own row may not be returned though a copy may.
    """

    nodes: Ids
    positions: Ids
    gone: Ids

    def __len__(self) -> int:
        return len(self.nodes)

    def without(self, unwanted: Ids, own_rows_gone: Ids) -> Copies:
        """The copies that are none of the sorted positions `unwanted`; own_rows_gone: nodes, ascending."""
        kept = ~np.isin(self.positions, unwanted, assume_unique=True)
        nodes = self.nodes[kept]
        return Copies(nodes, self.positions[kept], np.intersect1d(own_rows_gone, nodes))

    def expand(self, scores: Floats, nodes: Ids, positions: Ids) -> tuple[Floats, Ids]:
        """Answers [q, k] of nodes as answers [q, k] of positions: each node's own, then its copies, cut at k.

        positions: of the nodes' own rows; -1 stays -1.
        """
        first = np.searchsorted(self.nodes, nodes)
        count = np.searchsorted(self.nodes, nodes, side="right") - first
        if not count.any() and not len(self.gone):
            return scores, positions
        own = np.ones(nodes.shape, np.int64)
        if len(self.gone):
            own -= np.isin(nodes, self.gone)
        size = own + count
        k = nodes.shape[1]
        before = np.cumsum(size, axis=1) - size
        take = np.clip(k - before, 0, size).ravel()  # every answer has a row at least, so each query fills its k
        which = np.repeat(np.arange(nodes.size), take)
        within = np.arange(len(which)) - np.repeat(np.cumsum(take) - take, take)
        copy = within - own.ravel()[which]  # negative: the node's own row
        found = np.where(
            copy < 0, positions.ravel()[which], self.positions[np.maximum(first.ravel()[which] + copy, 0) % len(self)]
        )
        return scores.ravel()[which].reshape(-1, k), found.reshape(-1, k)
