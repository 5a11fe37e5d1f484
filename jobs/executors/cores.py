"""Sharing the cores of a machine among workers."""

from __future__ import annotations

# OpenMP (torch, faiss), MKL and OpenBLAS read these once, when they are loaded: a worker must start with them set.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def share_cores(cores: int, workers: int | None, threads: int | None) -> tuple[int, int]:
    """How many workers, and threads a worker, use `cores` cores without oversubscription.

    Args:
        cores: cores to share, at least 1.
        workers: how many are wanted; by default as many as fit at `threads` each, or one with all cores.
        threads: how many a worker may use at most; by default an even share of the cores.

    Returns:
        (workers, threads): more workers than cores get one thread each.
    """
    if workers is None:
        workers = max(1, cores // (threads or cores))
    most = max(1, cores // workers)
    return workers, min(threads or most, most)
