"""Which rows of a shard get a node of the graph, and which rows share one with others.

A row without a direction has no node. Of rows with the same vector, the first has the node, the others are its copies
(`index.graph.copies`). Of a crowd, many rows that are nearly equal, one has a node (`index.graph.crowds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.graph.copies import find_copies, hash_vectors
from index.graph.crowds import CROWD_RULES, find_crowds
from index.graph.hnsw import ADD_ROWS, usable_rows
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["NODE_RULES", "Nodes", "plan_nodes"]

Ids = npt.NDArray[np.int64]

# Part of what decides the bytes of a shard: change it when other rows come to share nodes.
NODE_RULES = ["copies", "crowds", *CROWD_RULES]


@dataclass(frozen=True)
class Nodes:
    """The nodes of n rows, by their positions.

    Attributes:
        usable: bool [n], whether a row has a direction, so that it can be found.
        owners: int64 [n], the first usable row with the same vector; a row that is not usable owns itself.
        leaders: int64 [n], the row whose node stands for this one.
    """

    usable: npt.NDArray[np.bool_]
    owners: Ids
    leaders: Ids

    @property
    def has_node(self) -> npt.NDArray[np.bool_]:
        """bool [n]: the rows whose vectors are added to the graph, in their order."""
        own: npt.NDArray[np.bool_] = self.usable & (self.leaders == np.arange(len(self.leaders)))
        return own

    @property
    def shared(self) -> Ids:
        """int64 [m, 3]: leader, owner and position of each usable row without a node, sorted by owner and position."""
        positions = np.flatnonzero(self.usable & ~self.has_node)
        owners = self.owners[positions]
        table = np.stack([self.leaders[positions], owners, positions], axis=1)
        return table[np.lexsort((positions, owners))].astype(np.int64)


def plan_nodes(store: EmbeddingStore, modality: Modality, first: int, last: int) -> Nodes:
    """The nodes of the rows first .. last - 1 of the store."""
    usable, hashes = [], []
    for _, vectors in store.blocks(modality, ADD_ROWS, first, last):
        usable.append(usable_rows(np.asarray(vectors, np.float32)))
        hashes.append(hash_vectors(vectors))
    whole = np.concatenate(usable)
    owners = find_copies(np.concatenate(hashes), whole)
    distinct = np.flatnonzero(whole & (owners == np.arange(len(owners))))
    return Nodes(whole, owners, find_crowds(store, modality, first, last, distinct)[owners])
