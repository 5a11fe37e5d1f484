"""Workers share batches and average gradients; the collectives are tried with two real processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from customize.clip.train.distributed import Worker, this_worker
from index.errors import BadInput


def test_without_a_process_group_there_is_one_worker_that_does_all() -> None:
    worker = this_worker()
    tensor = torch.tensor([1.0, 2.0])
    worker.average([tensor])
    worker.barrier()
    assert (worker.rank, worker.world_size, worker.first) == (0, 1, True)
    assert worker.share(np.arange(4)).tolist() == [0, 1, 2, 3]
    assert tensor.tolist() == [1.0, 2.0]
    assert (worker.any_of(True), worker.any_of(False)) == (True, False)


def test_shares_are_consecutive_and_make_up_the_batch() -> None:
    rows = np.arange(12)
    shares = [Worker(rank, 3).share(rows).tolist() for rank in range(3)]
    assert shares == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    Worker(0, 2).check_batch(8, 2)
    with pytest.raises(BadInput, match="--batch-size 9: cannot be shared evenly among 2 workers in 1 parts each"):
        Worker(0, 2).check_batch(9, 1)
    with pytest.raises(BadInput, match="choose a multiple of 8"):
        Worker(0, 2).check_batch(12, 4)


def test_two_processes_average_and_agree(tmp_path: Path) -> None:
    context = torch.multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        work, (str(tmp_path),), nprocs=2, join=False, start_method="spawn"
    )
    while not context.join(timeout=60):
        pass
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found == {"rank": rank, "floats": [[0.5, 1.5]], "doubles": [10.0], "any": [True, False]}


def work(rank: int, folder: str) -> None:
    """One of two workers."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    worker = this_worker()
    floats, doubles = torch.tensor([[0.0, 1.0]]) + rank, torch.tensor([20.0 * rank], dtype=torch.float64)
    worker.average([floats, doubles])
    answers = [worker.any_of(rank == 1), worker.any_of(False)]
    worker.barrier()
    found = {"rank": worker.rank, "floats": floats.tolist(), "doubles": doubles.tolist(), "any": answers}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
