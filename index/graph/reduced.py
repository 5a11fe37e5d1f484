"""Vectors of few whole numbers that stand for a shard's vectors while its links are chosen.

Principal components of a sample, at most 128 of them: which rows are near each other hardly depends on the rest (512
components of the scenes' CLIP: 99.8% of the 32 nearest rows), and products take a quarter of the time. All values are
whole numbers small enough that float32 adds and multiplies them exactly, so that sums do not depend on their order:
any number of threads, any BLAS and any device give the same products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["REDUCED_RULES", "SAMPLE_ROWS", "UNIT", "Reduction", "fit_reduction", "widened"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

# A component is a multiple of 1/UNIT. Reduced unit vectors, less their mean, are no longer than 2 UNIT: their
# components are exact in float16, their products and squared distances (at most 4 UNIT^2 = 2^22) in float32.
UNIT = 1_024
_DIM = 128
# Rounding before the projection: 2,048 x 2 (the longest difference from the mean) x 4,000 is below 2^24.
_BEFORE, _PLANES = 2_048, 4_000
SAMPLE_ROWS = 4_096
# What decides the values; part of the name of a shard whose links are chosen by them.
REDUCED_RULES = ("reduced", UNIT, _DIM, _BEFORE, _PLANES, SAMPLE_ROWS)


@dataclass(frozen=True)
class Reduction:
    """A projection of unit vectors [n, d] to [n, r] whole numbers, r = min(d, 128).

    mean: float32 [d], whole numbers in units of 1/2,048. planes: float32 [d, r], whole numbers.
    """

    mean: Floats
    planes: Floats

    @property
    def dim(self) -> int:
        dim: int = self.planes.shape[1]
        return dim

    def __call__(self, vectors: npt.NDArray[Any], *, centered: bool = True) -> Halves:
        """float16 [n, r]: the vectors less the mean, projected; without `centered`, the vectors themselves.

        The product of a centered and an uncentered one ranks rows as the inner product does, up to rounding.
        """
        whole = np.rint(widened(vectors) * np.float32(_BEFORE))
        if centered:
            whole -= self.mean
        reduced: Halves = np.rint((whole @ self.planes) * np.float32(UNIT / _BEFORE / _PLANES)).astype(np.float16)
        return reduced


def fit_reduction(sample: npt.NDArray[Any]) -> Reduction:
    """The principal components of unit vectors [n, d], those with the largest variance first."""
    import torch

    whole = np.rint(widened(sample) * np.float32(_BEFORE))
    mean = np.rint(whole.mean(axis=0, dtype=np.float64)).astype(np.float32)
    centered = (whole - mean).astype(np.float64)
    covariance = torch.from_numpy(centered.T @ centered)  # whole numbers below 2^53, so exact
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its last digits would depend on them
    try:
        vectors = torch.linalg.eigh(covariance)[1].numpy()[:, ::-1]
    finally:
        torch.set_num_threads(threads)
    planes = np.rint(vectors[:, : min(_DIM, vectors.shape[1])] * _PLANES)
    return Reduction(mean, np.ascontiguousarray(planes, np.float32))


def widened(vectors: npt.NDArray[Any]) -> Floats:
    """The same in float32; for float16 by torch, which is ten times as fast as numpy."""
    import torch

    if vectors.dtype != np.float16:
        return np.asarray(vectors, np.float32)
    wide: Floats = torch.from_numpy(np.ascontiguousarray(vectors)).float().numpy()
    return wide
