"""Gradients and figures are summed over the workers of a run."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from customize.lmm.train.distributed import largest, sum_gradients, sum_values


def parameters() -> list[torch.nn.Parameter]:
    return [
        torch.nn.Parameter(torch.zeros(3)),
        torch.nn.Parameter(torch.zeros(2, 2)),
        torch.nn.Parameter(torch.ones(1)),
    ]


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    assert sum_values(torch.tensor([1.0 + rank, 2.0]), 2).tolist() == [3.0, 4.0]
    assert largest(5 - rank, 2, "cpu") == 5
    some = parameters()
    some[0].grad = torch.full((3,), 1.0 + rank)
    if rank == 1:  # the other worker's batch did not touch it
        some[1].grad = torch.full((2, 2), 7.0)
    sum_gradients(some, 2, bucket=4)
    for parameter, expected in zip(some, (3.0, 7.0, 0.0), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.flatten().tolist() == [expected] * parameter.numel()
    dist.destroy_process_group()


def test_two_workers_hold_the_sums(tmp_path: Path) -> None:
    mp.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        work, (str(tmp_path),), nprocs=2, start_method="spawn"
    )


def test_alone_a_gradient_that_is_missing_is_zero() -> None:
    some = parameters()
    some[0].grad = torch.ones(3)
    sum_gradients(some, 1)
    assert [None if p.grad is None else float(p.grad.sum()) for p in some] == [3.0, 0.0, 0.0]
    assert largest(3, 1, "cpu") == 3
    assert sum_values(torch.tensor([2.0]), 1).tolist() == [2.0]
