"""How the cores of a machine are shared out among workers."""

from __future__ import annotations

import os

# OpenMP (torch, faiss), MKL and OpenBLAS read these when they are first loaded, so a worker must be born with them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def usable_cores() -> int:
    """Cores that this process may use; containers and `taskset` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(cores: int, workers: int | None, threads: int | None) -> tuple[int, int]:
    """Workers and threads a worker for `cores` cores: what is not given follows from what is; never oversubscribed."""
    if workers is None:
        workers = max(1, cores // (threads or cores))
    most = max(1, cores // workers)
    return workers, min(threads or most, most)
