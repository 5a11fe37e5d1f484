"""The workers of one run, as torch.distributed has them: Ray Train starts them, alone there is just one.

Each takes its share of every batch, and gradients are averaged, so that N workers take one worker's step. Knows no
model and no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from index.errors import BadInput

__all__ = ["Peers", "join_peers"]


@dataclass(frozen=True)
class Peers:
    """This worker's number and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this worker writes the files and says what happens."""
        return self.rank == 0

    def share(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This worker's rows of a batch; worker after worker they are the batch in its order."""
        size = len(rows) // self.count
        return rows[self.rank * size : (self.rank + 1) * size]

    def check_batch(self, batch: int, accumulate: int) -> None:
        """BadInput when a batch cannot be shared out evenly."""
        if batch % (self.count * accumulate):
            raise BadInput(
                f"--batch-size {batch}: cannot be shared evenly among {self.count} workers in {accumulate} parts each; "
                f"choose a multiple of {self.count * accumulate}"
            )

    def wait(self) -> None:
        """Until all workers are here."""
        if self.count > 1:
            dist.barrier()

    def any(self, value: bool) -> bool:
        """Whether it is true for any worker; the same answer for all."""
        if self.count == 1:
            return value
        votes: list[bool] = [False] * self.count
        dist.all_gather_object(votes, value)
        return any(votes)

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the workers, in one exchange a dtype."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            own = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in own])
            dist.all_reduce(flat)
            flat /= self.count
            place = 0
            for tensor in own:
                tensor.copy_(flat[place : place + tensor.numel()].view_as(tensor))
                place += tensor.numel()


def join_peers() -> Peers:
    """The workers of this process's group; alone where there is none."""
    if dist.is_available() and dist.is_initialized():
        return Peers(dist.get_rank(), dist.get_world_size())
    return Peers()
