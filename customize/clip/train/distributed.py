"""The workers of a run, joined by torch.distributed (Ray Train starts them); without a process group there is one.

Each worker computes its share of every batch, and gradients are averaged over the workers. N workers so take the steps
that one worker takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from index.errors import BadInput

__all__ = ["Worker", "this_worker"]


@dataclass(frozen=True)
class Worker:
    """One worker: its rank, from 0, and the number of workers. `barrier`, `any_of` and `average` are collectives:
    all workers must call them together."""

    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this worker writes the run's files and reports its progress."""
        return self.rank == 0

    def share(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This worker's consecutive part of a batch's rows."""
        size = len(rows) // self.world_size
        return rows[self.rank * size : (self.rank + 1) * size]

    def check_batch(self, batch_size: int, accumulate: int) -> None:
        """Raise BadInput when a batch cannot be shared evenly."""
        if batch_size % (self.world_size * accumulate):
            raise BadInput(
                f"--batch-size {batch_size}: cannot be shared evenly among {self.world_size} workers in {accumulate} "
                f"parts each; choose a multiple of {self.world_size * accumulate}"
            )

    def barrier(self) -> None:
        """Wait until all workers call this."""
        if self.world_size > 1:
            dist.barrier()

    def any_of(self, value: bool) -> bool:
        """Whether `value` is true on any worker."""
        if self.world_size == 1:
            return value
        votes: list[bool] = [False] * self.world_size
        dist.all_gather_object(votes, value)
        return any(votes)

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the workers, in one all-reduce for each dtype."""
        if self.world_size == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            own = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in own])
            dist.all_reduce(flat)
            flat /= self.world_size
            start = 0
            for tensor in own:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()


def this_worker() -> Worker:
    """This process's place in its process group; a single worker where there is no group."""
    if dist.is_available() and dist.is_initialized():
        return Worker(dist.get_rank(), dist.get_world_size())
    return Worker()
