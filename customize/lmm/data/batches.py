"""Which samples each step takes, and how its workers compute them: batches by kind and length, parts, packed rows.

    plan = BatchPlan(order=mixture.order, samples=mixture.epoch_samples, lengths=data.lengths, images=data.images,
                     batch_size=128)
    numbers = plan.batch(step)                                    # the samples of a step, over all workers
    own = share_batch(numbers, data.lengths, workers)[rank]       # this worker's
    for rows in packed_rows(own, data.lengths, 4096): ...         # or padded_parts

All of it follows from the seed and the step: any step can be asked for first, by any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from customize.lmm.data.source import Numbers
from index.errors import BadInput

__all__ = ["BatchPlan", "Grouping", "packed_rows", "padded_parts", "share_batch"]

Lengths = npt.NDArray[np.int32]
Grouping = Literal["length", "random"]
_WINDOW = 64  # batches among whose samples those of one length are looked for


@dataclass
class BatchPlan:
    """The batches of all epochs, one after another.

    Attributes:
        order: epoch -> the samples of the epoch in random order, int64 [samples].
        samples: of an epoch.
        lengths, images: int32, of every sample by its number: its tokens, and its images.
        batch_size: samples of a step, over all workers. The last batch of an epoch has what is left.
        grouping: "length": a batch's samples have images or none, and similar lengths, as LLaVA groups them; "random":
            the batches are those of the order.
        window: batches whose samples are grouped together. A larger one gives more even lengths, and batches that are
            less random.
        seed: of the order of the batches within an epoch.
    """

    order: Callable[[int], Numbers]
    samples: int
    lengths: Lengths
    images: npt.NDArray[np.int32]
    batch_size: int
    grouping: Grouping = "length"
    window: int = _WINDOW
    seed: int = 0
    _held: tuple[int, list[Numbers]] = field(default=(-1, []), repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.window < 1 or self.samples < 1:
            raise BadInput("a batch, a window and an epoch hold at least one sample")
        if self.grouping not in get_args(Grouping):
            raise BadInput(f"batches by {self.grouping!r:.50}: choose {' or '.join(get_args(Grouping))}")

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-self.samples // self.batch_size)

    def batch(self, step: int) -> Numbers:
        """int64: the samples of a step, from 0 over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        held, batches = self._held
        if held != epoch:
            batches = self._batches(epoch)
            self._held = epoch, batches
        return batches[place]

    def _batches(self, epoch: int) -> list[Numbers]:
        order, size = self.order(epoch), self.batch_size
        if self.grouping == "random":
            return [order[first : first + size] for first in range(0, len(order), size)]
        whole: list[Numbers] = []
        rest: list[Numbers] = []
        span = size * self.window
        for first in range(0, len(order), span):
            window = order[first : first + span]
            for kind in (True, False):
                # What the windows leave over makes batches of its own at the end, of which one may be of both kinds.
                own = window[(self.images[window] > 0) == kind]
                own = own[np.argsort(-self.lengths[own], kind="stable")]
                full = len(own) // size * size
                whole += np.split(own[:full], full // size) if full else []
                rest.append(own[full:])
        left = np.concatenate(rest)
        left = left[np.lexsort((-self.lengths[left], self.images[left] == 0))]
        whole += [left[first : first + size] for first in range(0, len(left), size)]
        # A smaller batch stays the last.
        full = len(whole) - (len(whole[-1]) < size)
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(full).tolist()
        return [whole[place] for place in (*shuffled, *range(full, len(whole)))]


def share_batch(numbers: Numbers, lengths: Lengths, workers: int) -> list[Numbers]:
    """The samples of each worker, whose tokens are balanced: the longest goes to who has fewest tokens so far."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    tokens = [0] * workers
    for number in numbers[np.argsort(-lengths[numbers], kind="stable")].tolist():
        least = min(range(workers), key=lambda worker: (tokens[worker], len(shares[worker]), worker))
        shares[least].append(number)
        tokens[least] += int(lengths[number])
    return [np.array(share, np.int64) for share in shares]


def padded_parts(numbers: Numbers, lengths: Lengths, budget: int) -> list[Numbers]:
    """Parts whose rows, padded to their longest, have at most `budget` tokens; a longer sample is a part alone.

    Samples of similar length are in one part, the longest first.
    """
    parts: list[list[int]] = []
    longest = 0
    for number in numbers[np.argsort(-lengths[numbers], kind="stable")].tolist():
        if parts and longest * (len(parts[-1]) + 1) <= budget:
            parts[-1].append(number)
        else:
            parts.append([number])
            longest = int(lengths[number])
    return [np.array(part, np.int64) for part in parts]


def packed_rows(numbers: Numbers, lengths: Lengths, budget: int) -> list[Numbers]:
    """Rows of samples with together at most `budget` tokens each, by first-fit decreasing (Johnson, 1973).

    It takes at most 11/9 n + 6/9 rows, where n is the fewest possible. A longer sample is a row alone.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in numbers[np.argsort(-lengths[numbers], kind="stable")].tolist():
        length = int(lengths[number])
        place = next((place for place, left in enumerate(free) if left >= length), len(rows))
        if place == len(rows):
            rows.append([])
            free.append(max(budget, length))
        rows[place].append(number)
        free[place] -= length
    return [np.array(row, np.int64) for row in rows]
