"""Batches over all workers of a run, with gradients: what a contrastive loss compares with.

With one worker, or none of torch's distributed groups, nothing is exchanged. Knows no losses.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_rows", "worker_count", "worker_rank"]


def worker_count() -> int:
    """Workers of this run; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def worker_rank() -> int:
    """This worker's place among them, from 0."""
    return dist.get_rank() if worker_count() > 1 else 0


def gather_rows(rows: Tensor) -> Tensor:
    """All workers' rows, by rank: [n, ...] of each, the same n everywhere, to [workers x n, ...].

    A collective: every worker calls it. Its gradient is the sum of all workers' gradients of these rows.
    """
    if worker_count() == 1:
        return rows
    if rows.requires_grad:
        gathered: Tensor = _GatherRows.apply(rows)
        return gathered
    return _exchange(rows)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        return _exchange(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Gloo has no reduce-scatter for all dtypes; features are small beside what they are computed from.
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first = worker_rank() * ctx.rows
        return total[first : first + ctx.rows]


def _exchange(rows: Tensor) -> Tensor:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(worker_count())]
    dist.all_gather(parts, rows)
    return torch.cat(parts)
