"""Cosine similarity of pairs of rows and of sets of rows, and sets with two equal image files.

Vectors are gathered block by block, so memory does not grow with the number of sets.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["same_bytes", "set_similarity", "similarities"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Row pairs whose vectors are gathered at once: 32 MB of fp16 at 512 dimensions.
_PAIRS = 32_768
# Members whose vectors are held at once: 128 MB of fp32 at 512 dimensions.
_MEMBERS = 65_536
# Two equal images have at least this cosine: rounding a unit vector to fp16 changes it by less than 0.001.
_EQUAL_IMAGES = 0.999


def similarities(store: EmbeddingStore, modality: Modality, pairs: RowIds) -> Floats:
    """float32 [n]: the cosine of each pair [n, 2] of rows. A pair's value does not depend on the other pairs."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        rows, back = np.unique(some, return_inverse=True)
        vectors = store.gather(modality, rows).astype(np.float32)
        left, right = np.asarray(back).reshape(some.shape).T
        # einsum sums each pair on its own, unlike a matrix product, whose last bits depend on the batch.
        found[start : start + _PAIRS] = np.einsum("ij,ij->i", vectors[left], vectors[right])
    return found


def set_similarity(store: EmbeddingStore, modality: Modality, members: RowIds) -> tuple[Floats, Floats]:
    """Mean and largest cosine over the pairs of each set, float32 [n] each; NaN where a member has no vector.

    members: int64 [n, m], -1 after the last member of a smaller set.
    """
    mean, largest = np.full(len(members), np.nan, np.float32), np.full(len(members), np.nan, np.float32)
    step = max(1, _MEMBERS // members.shape[1])
    for start in range(0, len(members), step):
        some = members[start : start + step]
        there = some >= 0
        rows, back = np.unique(np.maximum(some, 0), return_inverse=True)
        vectors = store.gather(modality, rows).astype(np.float32)
        usable = np.isfinite(vectors).all(axis=1) & (np.einsum("ij,ij->i", vectors, vectors) > 0)
        place = np.asarray(back).reshape(some.shape)
        total, pairs = np.zeros(len(some), np.float64), np.zeros(len(some), np.int64)
        most = np.full(len(some), -np.inf, np.float32)
        for left, right in combinations(range(some.shape[1]), 2):
            both = there[:, left] & there[:, right]
            cosine = np.einsum("ij,ij->i", vectors[place[both, left]], vectors[place[both, right]])
            total[both] += cosine
            pairs[both] += 1
            most[both] = np.maximum(most[both], cosine)
        good = (usable[place] | ~there).all(axis=1) & (pairs > 0)
        mean[start : start + step][good] = (total[good] / pairs[good]).astype(np.float32)
        largest[start : start + step][good] = most[good]
    return mean, largest


def same_bytes(store: EmbeddingStore, members: RowIds, largest: Floats) -> npt.NDArray[np.bool_]:
    """bool [n]: which sets have two members with the same SHA-256.

    members: int64 [n, m]. largest: the largest cosine of each set; the metadata of sets below 0.999 is not read.
    """
    same = np.zeros(len(members), np.bool_)
    places = np.flatnonzero(largest >= _EQUAL_IMAGES)
    if not len(places):
        return same
    rows, back = np.unique(np.maximum(members[places], 0), return_inverse=True)
    digests = store.metadata(rows, ["sha256"])["sha256"].to_pylist()
    for place, own, known in zip(
        places, np.asarray(back).reshape(-1, members.shape[1]), members[places] >= 0, strict=True
    ):
        found = [digests[row] for row in own[known] if digests[row]]
        same[place] = len(found) > len(set(found))
    return same
