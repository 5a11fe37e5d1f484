"""Reading the stored near-duplicate groups of a store.

    groups = open_groups(EmbeddingStore.open("STORE"))       # None where there are none
    groups.of([3, 14])                                       # the first row of each row's group

No two rows of different groups are near-duplicates at the column's limit or a higher one (but for the few pairs that
the search misses). So who looks for near-duplicates among many rows compares those of one group only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.duplicates.groups_manifest import GroupsManifest, groups_folder, read_groups_manifest
from index.errors import BadInput, StoreInvalid
from index.graph.shard_files import shard_file
from index.store.embedding_store import EmbeddingStore

__all__ = ["StoredGroups", "known_groups", "open_groups"]

Ints = npt.NDArray[np.int64]


class StoredGroups:
    """The column of a store, open for reading; `open_groups` makes it."""

    def __init__(self, store: EmbeddingStore, manifest: GroupsManifest) -> None:
        folder = groups_folder(store)
        self.store, self.manifest = store, manifest
        try:
            self._column = np.load(shard_file(folder, manifest.column), mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise StoreInvalid(
                f"{folder / manifest.column.name}: cannot be read; run `clipmine duplicates {store.path}` again"
            ) from error
        if self._column.shape != (manifest.rows,):
            raise StoreInvalid(f"{folder}: the column is not what groups.json says; run `clipmine duplicates` again")

    @property
    def threshold(self) -> float:
        """Cosine from which two images are near-duplicates."""
        return self.manifest.threshold

    @property
    def rows(self) -> int:
        """The column holds rows 0 .. rows - 1 of the store."""
        return self.manifest.rows

    def of(self, rows: Sequence[int] | Ints) -> Ints:
        """int64 [n]: the first row of the group of each row, the row itself where it is alone; -1 for forgotten rows.

        Raises:
            BadInput: a row that the column does not hold.
        """
        ids = np.asarray(rows, np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self.rows):
            raise BadInput(f"{self.store.path}: its near-duplicate groups hold rows 0 to {self.rows - 1} only")
        groups = np.array(self._column[ids], np.int64)
        groups[self.store.is_forgotten(ids)] = -1
        return groups


def open_groups(store: EmbeddingStore) -> StoredGroups | None:
    """The near-duplicate groups of the store; None where there are none, or where its vectors were replaced since.

    Raises:
        StoreInvalid: they are damaged.
    """
    manifest = read_groups_manifest(store)
    return StoredGroups(store, manifest) if manifest is not None and manifest.is_of(store) else None


def known_groups(store: EmbeddingStore, rows: Ints, threshold: float) -> Ints | None:
    """int64 [n]: numbers such that no near-duplicates at `threshold` have different ones; -1 for forgotten rows.

    None where the store's groups do not tell: there are none, they are of a higher limit, or lack some of the rows.
    """
    groups = open_groups(store)
    if groups is None or groups.threshold > threshold or (len(rows) and int(rows.max()) >= groups.rows):
        return None
    return groups.of(rows)
