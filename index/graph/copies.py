"""Rows with the same vector share a node of the graph.

Captions on the web repeat: hundreds of rows may have the same text vector. In a graph such rows would link only to each
other, and a search that reaches one of them would fill its candidate list with the others and stop. So only the first
of them gets a node, and a search returns the others (its copies) together with it. Measured on 20,000 rows with
web-like captions and 459 concept names as queries, at efSearch 64: recall@10 was .942 without this and .994 with it; 22
queries lost more than half of their results without it, none with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Copies", "find_copies", "hash_vectors"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def hash_vectors(vectors: npt.NDArray[np.floating[Any]]) -> Hashes:
    """uint64 [n, 2]: 128 bits of each row's bytes.

    The probability that any two of a billion different rows have equal hashes is below 1e-10.
    """
    words = np.ascontiguousarray(vectors).view(np.uint16).astype(np.uint64)
    factors = np.random.Generator(np.random.PCG64(2)).integers(0, 1 << 64, (words.shape[1], 2), np.uint64)
    # Sums of 16-bit words times random odd numbers, modulo 2^64: two different rows have equal sums with a probability
    # of at most 2^-47. This is faster than a digest of each row.
    products: Hashes = words @ (factors | np.uint64(1))
    return products


def find_copies(hashes: Hashes, usable: npt.NDArray[np.bool_]) -> Ids:
    """int64 [n]: for each position the first usable one with the same hash; a position that is not usable gives itself.

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
    """The copies of a shard: the row at positions[i] has no node of its own and is found at nodes[i].

    nodes: int64 [m], ascending; positions: int64 [m]; gone: ascending nodes whose own row must not be returned, while
    a copy may be.
    """

    nodes: Ids
    positions: Ids
    gone: Ids

    def __len__(self) -> int:
        return len(self.nodes)

    def without(self, unwanted: Ids, own_rows_gone: Ids) -> Copies:
        """The copies without the sorted positions `unwanted`; own_rows_gone: ascending nodes whose own row is one."""
        kept = ~np.isin(self.positions, unwanted, assume_unique=True)
        nodes = self.nodes[kept]
        return Copies(nodes, self.positions[kept], np.intersect1d(own_rows_gone, nodes))

    def expand(self, scores: Floats, nodes: Ids, positions: Ids) -> tuple[Floats, Ids]:
        """Turn results in nodes [q, k] into results in positions [q, k]: each node's own row, then its copies.

        positions: int64 [q, k], the nodes' own rows; -1 stays -1.
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
        take = np.clip(k - before, 0, size).ravel()  # every node gives a row at least, so each query gets k
        which = np.repeat(np.arange(nodes.size), take)
        within = np.arange(len(which)) - np.repeat(np.cumsum(take) - take, take)
        copy = within - own.ravel()[which]  # negative: the node's own row
        found = np.where(
            copy < 0, positions.ravel()[which], self.positions[np.maximum(first.ravel()[which] + copy, 0) % len(self)]
        )
        return scores.ravel()[which].reshape(-1, k), found.reshape(-1, k)
