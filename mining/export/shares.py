"""Which samples each worker of each rank reads in an epoch, and in which order, computed without communication.

The blocks of samples are shuffled, cut among the ranks and then among the workers of a rank, and each worker shuffles
its own within windows. So reading stays nearly sequential, and the order depends on seed and epoch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.errors import BadInput

__all__ = ["Place", "Share", "rank_count", "share_of"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """One reader of an epoch: worker `worker` of `workers`, in rank `rank` of `ranks`; all from 0."""

    rank: int
    ranks: int
    worker: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Share:
    """What one reader reads. windows: its samples, in order. quota: how many it gives; None for all that can be read.

    With a quota the windows may hold one sample more, which is read where another one could not be.
    """

    windows: tuple[Numbers, ...]
    quota: int | None

    def __len__(self) -> int:
        return sum(len(window) for window in self.windows)

    def from_place(self, place: int) -> list[Numbers]:
        """The windows without the first `place` samples."""
        found = []
        for window in self.windows:
            if place < len(window):
                found.append(window[place:])
            place = max(0, place - len(window))
        return found


def rank_count(samples: int, place: Place, equal: bool) -> int:
    """The samples of a rank in an epoch. Raises BadInput where a rank would have none, or is none of the ranks."""
    if not 0 <= place.rank < place.ranks:
        raise BadInput(
            f"rank {place.rank} of {place.ranks}: ranks are counted from 0; correct RANK and WORLD_SIZE in the "
            "environment, or give rank and world_size"
        )
    if not samples:
        raise BadInput("there are no samples to stream; loosen the filters")
    if samples < place.ranks:
        raise BadInput(
            f"{samples} samples cannot be shared by {place.ranks} ranks; loosen the filters, or use fewer ranks"
        )
    return samples // place.ranks + (0 if equal else int(place.rank < samples % place.ranks))


def share_of(
    blocks: Sequence[Numbers], *, place: Place, equal: bool, window: int, seed: int | None, epoch: int
) -> Share:
    """The share of one reader.

    blocks: the samples in the order in which they are stored, cut where reading may begin anew. equal: every rank gets
    equally many, the remainder is spare, other samples in each epoch. window: samples that are shuffled together. seed:
    None keeps the stored order. Raises BadInput where a reader would have nothing.
    """
    samples = sum(len(block) for block in blocks)
    count = rank_count(samples, place, equal)
    if count < place.workers:
        raise BadInput(
            f"{samples} samples cannot be shared by {place.ranks} ranks of {place.workers} workers; loosen the "
            "filters, or use fewer workers"
        )
    order = _order(blocks, seed, epoch)
    if equal:
        own = order[place.rank * count : (place.rank + 1) * count]
    else:
        own = np.array_split(order, place.ranks)[place.rank]
    own = np.array_split(own, place.workers)[place.worker]
    windows = [own[first : first + window] for first in range(0, len(own), window)]
    if seed is not None:
        chance = np.random.default_rng([seed, epoch, place.rank, place.worker])
        windows = [chance.permutation(each) for each in windows]
    if not equal:
        return Share(tuple(windows), None)
    spare = order[place.ranks * count :][place.rank : place.rank + 1] if place.worker == 0 else order[:0]
    return Share((*windows, spare), len(own))


def _order(blocks: Sequence[Numbers], seed: int | None, epoch: int) -> Numbers:
    if seed is None:
        return np.concatenate(blocks)
    chance = np.random.default_rng([seed, epoch])
    order = np.concatenate([blocks[block] for block in chance.permutation(len(blocks))])
    # Rotated by a random number, so that also a few large blocks are cut among the ranks elsewhere in each epoch.
    return np.roll(order, -int(chance.integers(len(order))))
