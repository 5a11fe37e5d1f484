"""Images of which some are near-copies of others, and groups of near-duplicates by comparing all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Halves = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]


def with_copies(rows: int, copies: int, dim: int = 32, seed: int = 0) -> Halves:
    """Unit rows: the last `copies` are copies of random others, at cosines from 0.95 to 1."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(rows - copies, dim))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    source = own[rng.integers(0, len(own), copies)]
    step = rng.normal(size=source.shape)
    step -= (step * source).sum(axis=1, keepdims=True) * source
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    cosine = rng.uniform(0.95, 1, (copies, 1))
    every: Halves = np.concatenate([own, cosine * source + np.sqrt(1 - cosine**2) * step]).astype(np.float16)
    return every


def groups_of(vectors: npt.NDArray[np.float16], threshold: float = 0.94) -> Ints:
    """int64 [n]: the first row of each row's group, by comparing all."""
    wide = vectors.astype(np.float32)
    group = np.arange(len(wide))
    for one, other in zip(*np.nonzero(np.triu(wide @ wide.T >= threshold, 1)), strict=True):
        group[group == max(group[one], group[other])] = min(group[one], group[other])
    return group
