"""Samples as the arrays of one forward pass: padded rows, or several samples in one row without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from customize.lmm.data.sample import IGNORED, EncodedSample, ImageFile

__all__ = ["Collated", "collate"]

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Collated:
    """The samples of one forward pass.

    Attributes:
        ids: int64 [rows, n], padded on the right.
        labels: int64 [rows, n], IGNORED where a token has no loss: on questions, padding, and the first token of a
            sample, which nothing of its own comes before.
        positions: int64 [1, n], from 0 in each sample, for a row of several samples; None for padded rows. An
            attention that is block-diagonal keeps the samples apart where the positions begin anew.
        sources: int64 [rows, n], the number of each token's source; that of the row on padding.
        images: in the order of their tokens.
        sample_ids: of the samples.
        tokens, trained: without padding, and those with a loss; a loss that is summed is divided by `trained` of all
            workers' parts of a step, or by the number of samples.
    """

    ids: Array
    labels: Array
    positions: Array | None
    sources: Array
    images: tuple[ImageFile, ...]
    sample_ids: tuple[str, ...]
    tokens: int
    trained: int


def collate(samples: Sequence[EncodedSample], sources: Sequence[int], *, pad_id: int, packed: bool) -> Collated:
    """sources: the number of each sample's source. packed: one row of all samples; else a row each."""
    labels = [np.where(np.arange(len(each)) > 0, each.labels, IGNORED) for each in samples]
    if packed:
        ids = np.concatenate([each.input_ids for each in samples])[None]
        joined = np.concatenate(labels)[None]
        positions = np.concatenate([np.arange(len(each)) for each in samples])[None]
        numbers = np.repeat(np.array(sources, np.int64), [len(each) for each in samples])[None]
    else:
        shape = (len(samples), max(map(len, samples)))
        ids, joined, positions = np.full(shape, pad_id, np.int64), np.full(shape, IGNORED, np.int64), None
        numbers = np.repeat(np.array(sources, np.int64)[:, None], shape[1], axis=1)
        for row, each in enumerate(samples):
            ids[row, : len(each)], joined[row, : len(each)] = each.input_ids, labels[row]
    return Collated(
        ids=ids,
        labels=joined,
        positions=positions,
        sources=numbers,
        images=tuple(image for each in samples for image in each.images),
        sample_ids=tuple(each.sample_id for each in samples),
        tokens=sum(map(len, samples)),
        trained=int((joined != IGNORED).sum()),
    )
