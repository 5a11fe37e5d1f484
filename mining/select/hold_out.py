"""Which held-out sets show a picture that training sets show too: the same image, or a near-duplicate of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.duplicates.near_duplicates import StoreVectors, Vectors, near_duplicate_groups
from index.duplicates.stored_groups import known_groups
from index.store.embedding_store import EmbeddingStore

__all__ = ["shows_training_pictures"]

RowIds = npt.NDArray[np.int64]

# Equal files have at least this cosine, so a limit above it would let them pass.
_EQUAL_IMAGES = 0.999
# Vectors up to so many bytes are held in memory, as each is compared several times.
_HELD_BYTES = 1 << 30


def shows_training_pictures(
    store: EmbeddingStore, members: RowIds, training: RowIds, near_duplicates: float
) -> npt.NDArray[np.bool_]:
    """bool [n]: the sets with an image that is in one group of near-duplicates with an image of a training set.

    Args:
        members: int64 [n, m], row ids of the held-out sets, padded with -1. training: the same of the training sets.
        near_duplicates: image cosine from which two images are the same picture.
    """
    used = np.unique(training[training >= 0])
    rows = np.union1d(used, members[members >= 0])
    vectors: Vectors = StoreVectors(store, rows)
    if len(rows) * store.dim * 2 <= _HELD_BYTES:
        vectors = store.gather("image", rows)
    limit = min(near_duplicates, _EQUAL_IMAGES)
    groups = near_duplicate_groups(vectors, limit, within=known_groups(store, rows, limit))
    taken = rows[np.isin(groups, groups[np.searchsorted(rows, used)])]
    return np.asarray(np.isin(members, taken).any(axis=1))
