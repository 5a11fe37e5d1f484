"""The samples of image sets with their image files, for streaming: from the sources, or from tars (`tar_samples`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from mining.export.member_images import MemberImages
from mining.export.read_sets import read_samples
from mining.export.sample import Sample
from mining.export.samples import Numbers, Samples
from mining.export.skipped import SkippedSet
from mining.sets.layouts import GROUP_SETS

__all__ = ["SampleFiles", "SetFiles"]


class SampleFiles(Protocol):
    """Samples by number, with the image files of their sets.

    window: how many samples are shuffled together; they are read one after another, and `read` may hold their files.
    """

    window: int

    def __len__(self) -> int:
        """Samples of an epoch."""

    def digest(self) -> str:
        """A hash of the ids of the samples' sets, in order, and of what is said of them."""

    def blocks(self, epoch: int) -> list[Numbers]:
        """The samples of an epoch in the order in which they are stored, cut where reading may begin anew."""

    def read(self, numbers: Numbers) -> Iterator[tuple[Sample, list[bytes]] | SkippedSet]:
        """Yield an item for each number, in this order: the sample and its set's image files, or why it is skipped."""


class SetFiles:
    """The samples of a folder of image sets, with images from their sources."""

    # 32 groups of sets: few enough that each is decoded once an epoch, as the layout keeps them.
    window = 32 * GROUP_SETS

    def __init__(self, samples: Samples, images: MemberImages) -> None:
        self.samples, self.images = samples, images

    def __len__(self) -> int:
        return len(self.samples)

    def digest(self) -> str:
        ids = self.samples.sets.table(["set_id"])["set_id"]
        found = hashlib.sha256(self.samples.digest().encode())
        for batch in ids.chunks:
            found.update("".join(f"{name}\n" for name in batch.to_pylist()).encode())
        return found.hexdigest()

    def blocks(self, epoch: int) -> list[Numbers]:
        numbers = self.samples.numbers(epoch)
        # A group of sets is decoded at once. Few sets, whose groups all stay decoded, are cut finer: they mix better.
        size = min(GROUP_SETS, max(1, len(numbers) // 128))
        return np.array_split(numbers, range(size, len(numbers), size))

    def read(self, numbers: Numbers) -> Iterator[tuple[Sample, list[bytes]] | SkippedSet]:
        return read_samples(self.images, self.samples.read(numbers))
