"""Which pairs a step sees and how fast it learns: both follow from the seed and the step alone, so a run can resume.

Knows numbers only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["WINDOW", "BatchOrder", "learning_rate"]

Rows = npt.NDArray[np.int64]

# Pairs that are mixed with each other: up to so many, an epoch is one permutation of all. Beyond, shards are drawn in
# random order and mixed a window at a time, so that reading stays within ten shards of img2dataset's 10,000.
WINDOW = 100_000


class BatchOrder:
    """The rows of each step. An epoch sees a row at most once; what does not fill a batch waits for the next epoch.

    shards: int [n], the shard that each row's image lies in, numbered from 0.
    """

    def __init__(self, shards: npt.NDArray[np.integer], batch: int, seed: int, window: int = WINDOW) -> None:
        self.batch, self.seed, self.window = batch, seed, window
        self.steps_per_epoch = len(shards) // batch
        self._shards = shards
        self._epoch: tuple[int, Rows] = (-1, np.empty(0, np.int64))

    def rows(self, step: int) -> Rows:
        """int64 [batch]: the rows of a step, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._permute(epoch))
        return self._epoch[1][position * self.batch : (position + 1) * self.batch]

    def _permute(self, epoch: int) -> Rows:
        chance = np.random.default_rng((self.seed, epoch))
        count = len(self._shards)
        if count <= self.window:
            return chance.permutation(count).astype(np.int64)
        place = chance.permutation(int(self._shards.max()) + 1)
        order = np.argsort(place[self._shards], kind="stable").astype(np.int64)
        for first in range(0, count, self.window):
            chance.shuffle(order[first : first + self.window])
        return order


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """open_clip's schedule (`open_clip_train.scheduler.cosine_lr`): linear up to `peak`, then a cosine down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) * peak
