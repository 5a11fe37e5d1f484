"""The rows of each step and its learning rate. Both follow from the seed and the step alone, so a run can resume."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["BatchOrder", "learning_rate"]

Rows = npt.NDArray[np.int64]

# Up to so many pairs, an epoch is one permutation of all pairs. With more, the shards are put into random order and the
# rows shuffled a window at a time, so that at one time only about ten shards (of img2dataset's 10,000) are read.
WINDOW = 100_000


class BatchOrder:
    """The rows of each step. An epoch has each row at most once; the rows that do not fill a batch are skipped.

    shards: int [n], the number of the shard that holds each row's image, from 0.
    """

    def __init__(self, shards: npt.NDArray[np.integer], batch_size: int, seed: int, window: int = WINDOW) -> None:
        self.batch_size, self.seed, self.window = batch_size, seed, window
        self.steps_per_epoch = len(shards) // batch_size
        self._shards = shards
        self._epoch: tuple[int, Rows] = (-1, np.empty(0, np.int64))

    def rows(self, step: int) -> Rows:
        """int64 [batch_size]: the rows of a step, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._permute(epoch))
        return self._epoch[1][position * self.batch_size : (position + 1) * self.batch_size]

    def _permute(self, epoch: int) -> Rows:
        rng = np.random.default_rng((self.seed, epoch))
        count = len(self._shards)
        if count <= self.window:
            return rng.permutation(count).astype(np.int64)
        rank = rng.permutation(int(self._shards.max()) + 1)
        order = np.argsort(rank[self._shards], kind="stable").astype(np.int64)
        for first in range(0, count, self.window):
            rng.shuffle(order[first : first + self.window])
        return order


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """open_clip's schedule (`open_clip_train.scheduler.cosine_lr`): linear up to `peak`, then a cosine down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) * peak
