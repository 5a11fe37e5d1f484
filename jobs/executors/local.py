"""The `local` executor: processes of this machine.

A single worker is this process itself. Several are spawned, not forked: threads of torch and Arrow do not survive it.
Each worker has its own pipe, so that a killed worker's item is known.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from typing import Any

from index.cores import usable_cores
from index.exit_status import describe_exit
from jobs.executors.attempts import ATTEMPTS, Gpu, Outcome, Work, WorkerDied, attempt
from jobs.executors.cores import THREAD_VARIABLES, share_cores


def run(work: Work, workers: int | None, threads: int | None, gpu: Gpu) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator ends the workers."""
    gpus = _visible_gpus() if gpu else []
    if workers is None and gpus:
        workers = len(gpus)
    # A worker with a GPU gets all its share of the cores, since it decodes for the GPU.
    workers, threads = share_cores(usable_cores(), workers, None if gpus else threads)
    workers = min(workers, len(work.items))
    if workers == 1:
        for position, item in enumerate(work.items):
            yield attempt(work.function, position, item, work.config)
    else:
        yield from _run_pool(work, workers, threads, gpus)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    position: int | None = None


def _run_pool(work: Work, count: int, threads: int, gpus: list[str]) -> Generator[Outcome]:
    waiting = deque(range(len(work.items)))
    attempts = [0] * len(work.items)
    workers: dict[int, _Worker] = {}
    try:
        while waiting or any(worker.position is not None for worker in workers.values()):
            for slot in range(count):
                if slot not in workers and waiting:
                    workers[slot] = _start(work, threads, gpus[slot % len(gpus)] if gpus else None)
                if waiting and workers[slot].position is None:
                    _hand_out(work, workers[slot], waiting, attempts)
            busy = {worker.pipe: slot for slot, worker in workers.items() if worker.position is not None}
            for ready in connection.wait(list(busy)):
                slot = busy[ready]  # type: ignore[index]  # wait() returns the connections that it was given
                outcome = _receive(workers[slot])
                if outcome is not None:
                    workers[slot].position = None
                    yield outcome
                    continue
                dead = workers.pop(slot)
                dead.process.join()
                dead.pipe.close()
                assert dead.position is not None
                if attempts[dead.position] >= ATTEMPTS:
                    raise WorkerDied(work.label, work.item_name(dead.position), describe_exit(dead.process.exitcode))
                waiting.appendleft(dead.position)
    finally:
        for worker in workers.values():
            worker.process.kill() if worker.position is not None else worker.process.terminate()
        for worker in workers.values():
            worker.process.join()
            worker.pipe.close()


def _start(work: Work, threads: int, gpu: str | None) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, work.function, work.config), name=f"clipmine-{work.label}", daemon=True
    )
    with _environment(threads, gpu):
        process.start()
    theirs.close()  # else our end would see no end-of-file when the worker dies
    return _Worker(process, ours)


def _hand_out(work: Work, worker: _Worker, waiting: deque[int], attempts: list[int]) -> None:
    position = waiting.popleft()
    attempts[position] += 1
    worker.position = position
    with suppress(BrokenPipeError):  # the worker died idle or while starting; waiting on its pipe will tell
        worker.pipe.send((position, work.items[position]))


def _receive(worker: _Worker) -> Outcome | None:
    try:
        outcome: Outcome = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        return None
    return outcome


def _serve(pipe: connection.Connection, function: Any, config: Any) -> None:
    """A worker's main function: items in, outcomes out, until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends its workers
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            position, item = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(function, position, item, config))


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a worker that outlives a killed parent would write beside the next run


@contextmanager
def _environment(threads: int, gpu: str | None) -> Iterator[None]:
    """The environment that a worker starts with; thread settings of the user are kept."""
    wanted = {name: str(threads) for name in THREAD_VARIABLES if name not in os.environ}
    if gpu is not None:
        wanted["CUDA_VISIBLE_DEVICES"] = gpu
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _visible_gpus() -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them; empty without a driver."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[: torch.cuda.device_count()] or [str(number) for number in range(torch.cuda.device_count())]
