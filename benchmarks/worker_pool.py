"""Runs the tunings of an ablation in one process a core, each with one thread; used by the ablations' benchmarks."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

__all__ = ["run_each"]

J = TypeVar("J")
R = TypeVar("R")
CHECK_EVERY = 2.0  # seconds


def run_each(function: Callable[[J], R], jobs: Sequence[J], cores: int) -> Iterator[R]:
    """Run `function` on each job in processes of their own; yields results in the order of completion.

    The processes end within seconds of their parent, also where that was killed. function: of a module, not a lambda.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=_start, initargs=(os.getpid(),)) as pool:
        for done in as_completed([pool.submit(function, job) for job in jobs]):
            yield done.result()


def _start(parent: int) -> None:
    """Limit PyTorch to one thread: for a small model, two such processes are faster than one with two threads."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_EVERY)
    os._exit(1)
