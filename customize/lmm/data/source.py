"""What a source of training samples is: conversations by number, whose images are read later and by their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample

__all__ = ["Numbers", "PlacedImage", "Source"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlacedImage(ImageFile):
    """An image of a source. place: `Source.image(key, place)` gives the image again, in another process as well."""

    place: str = ""


class Source(Protocol):
    """Samples by number, 0 .. len - 1. Safe for threads; can be pickled."""

    @property
    def name(self) -> str:
        """For logs and statistics."""
        ...

    def __len__(self) -> int: ...

    def digest(self) -> str:
        """A hash of all samples, without the bytes of their images."""
        ...

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        """Yield an item for each number, in this order. Their images are PlacedImage; none of them is read."""
        ...

    def image(self, key: str, place: str) -> ImageFile:
        """The image that a sample had, from its key and place."""
        ...
