"""A mixture of sources: which samples an epoch takes, and in which order, computed from the seed alone.

    mixture = Mixture([Part(llava), Part(pairs, weight=0.3)], seed=0)
    order = mixture.order(epoch=0)          # int64: samples of the mixture, numbered over all its sources
    mixture.share(order, rank=0, ranks=4)   # without loss, without doubles

Without weights and counts an epoch takes each sample once. A weighted source that has fewer samples than its share
repeats them, as evenly as can be; one that has more takes the others in the next epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from customize.lmm.data.source import Numbers, Source
from index.errors import BadInput

__all__ = ["Mixture", "Part"]


_MOST_PASSES = 10_000  # over a source in an epoch: more is a slip of the pen, and its order takes minutes to draw


@dataclass(frozen=True)
class Part:
    """A source and how much of it an epoch takes. weight: its share of the samples, relative to the other weights.

    count: samples of an epoch. Neither: each sample once.
    """

    source: Source
    weight: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and self.count is not None:
            raise BadInput(f"{self.source.name}: give a weight or a count")
        if (self.weight is not None and not 0 < self.weight < float("inf")) or (
            self.count is not None and self.count < 1
        ):
            raise BadInput(f"{self.source.name}: a weight or a count is above 0; leave the source out instead")


class Mixture:
    """The samples of several sources, numbered 0 .. len - 1: those of the first source first."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        seed: int = 0,
        samples: int | None = None,
        usable: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> None:
        """samples: of the weighted sources together in an epoch; by default as many as they have.

        usable: for each source the numbers of the samples that can be trained on; None for all. Raises BadInput where
        there is nothing to take, or two sources have one name.
        """
        self.parts, self.seed = tuple(parts), seed
        names = [part.source.name for part in self.parts]
        if not names:
            raise BadInput("a mixture needs a source; name a file of conversations or a folder of image sets")
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise BadInput(f"two sources have the name {doubled!r:.100}; give one another by name=")
        self.names = tuple(names)
        self.bounds = np.cumsum([0, *(len(part.source) for part in self.parts)])
        own = usable if usable is not None else [np.arange(len(part.source)) for part in self.parts]
        self._usable = [np.asarray(each, np.int64) for each in own]
        for name, each in zip(names, self._usable, strict=True):
            if not len(each):
                raise BadInput(f"{name}: none of its samples can be trained on; see why they were skipped")
        for part, each in zip(self.parts, self._usable, strict=True):
            if part.count is not None and part.count > _MOST_PASSES * len(each):
                raise BadInput(
                    f"{part.source.name}: count={part.count} would take each of its {len(each):,} samples more than "
                    f"{_MOST_PASSES:,} times an epoch; name a smaller count"
                )
        self.counts = self._counts(samples)

    def __len__(self) -> int:
        """All samples of the sources, usable or not."""
        return int(self.bounds[-1])

    @property
    def epoch_samples(self) -> int:
        """Samples of an epoch."""
        return sum(self.counts)

    def order(self, epoch: int = 0) -> Numbers:
        """int64 [epoch_samples]: the samples of an epoch in their random order."""
        taken = [
            self.bounds[place] + usable[_drawn(len(usable), count, epoch, [self.seed, place])]
            for place, (usable, count) in enumerate(zip(self._usable, self.counts, strict=True))
        ]
        whole = np.concatenate(taken)
        return whole[np.random.default_rng([self.seed, epoch, len(self.parts)]).permutation(len(whole))]

    def source_of(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """int64 [n]: the place of each sample's source among the parts."""
        return np.searchsorted(self.bounds, numbers, side="right") - 1

    def statistics(self) -> list[dict[str, object]]:
        """For each source: name, samples, usable, taken (in an epoch), share of the epoch, passes (taken / usable)."""
        whole = self.epoch_samples
        return [
            {
                "name": part.source.name,
                "samples": len(part.source),
                "usable": len(usable),
                "taken": count,
                "share": count / whole,
                "passes": count / len(usable),
            }
            for part, usable, count in zip(self.parts, self._usable, self.counts, strict=True)
        ]

    def _counts(self, samples: int | None) -> tuple[int, ...]:
        weights = np.array([part.weight or 0.0 for part in self.parts])
        whole = sum(len(usable) for usable, weight in zip(self._usable, weights, strict=True) if weight)
        shares = weights / (weights.sum() or 1) * (samples if samples is not None else whole)
        counts = [
            len(usable) if part.weight is None and part.count is None else part.count or max(1, round(share))
            for part, usable, share in zip(self.parts, self._usable, shares.tolist(), strict=True)
        ]
        return tuple(counts)

    @staticmethod
    def share(order: Numbers, rank: int, ranks: int) -> Numbers:
        """What one rank takes of an order. Shares have no sample in common and differ by at most one in size."""
        if not 0 <= rank < ranks:
            raise BadInput(f"rank {rank} of {ranks}: ranks are counted from 0")
        return order[rank::ranks]


def _drawn(samples: int, count: int, epoch: int, seed: list[int]) -> Numbers:
    """int64 [count]: places among `samples`, those of the epoch in an endless row of permutations."""
    first, last = epoch * count, (epoch + 1) * count
    passes = [
        np.random.default_rng([*seed, number]).permutation(samples)
        for number in range(first // samples, -(-last // samples))
    ]
    start = first - (first // samples) * samples
    return np.concatenate(passes)[start : start + count]
