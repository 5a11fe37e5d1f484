"""A training sample of a multimodal model: a conversation with images, wherever it came from, and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mining.sets.annotation import Turn

__all__ = ["IGNORED", "EncodedSample", "ImageFile", "LmmSample"]

IGNORED = -100  # the label of a token without loss: torch's cross_entropy ignore_index


@dataclass(frozen=True)
class ImageFile:
    """An image that a sample shows. key: equal for equal files (its sha256 where that is known, else its place).

    read: the encoded file's bytes; raises ClipmineError with one line where it cannot be read.
    """

    key: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class LmmSample:
    """A conversation about images. turns: their parts are texts and positions in `images`. source: a name for logs."""

    sample_id: str
    source: str
    turns: tuple[Turn, ...]
    images: tuple[ImageFile, ...] = ()


@dataclass(frozen=True)
class EncodedSample:
    """A sample as tokens. input_ids, labels: int64 [n]; labels are IGNORED except on answers and their stops.

    Each image takes as many image tokens (`image_token_id`) in a row as the model has features for it; they are in the
    order of `images`.
    """

    sample_id: str
    source: str
    input_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    images: tuple[ImageFile, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)
