"""The `ray` executor: Ray Data streams the items through a pool of actors, so that each actor loads a model once.

Only positions and outcomes pass through Ray; the work's function reads and writes files itself.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import warnings
from collections import Counter
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.cores import usable_cores
from index.errors import BadInput, ClipmineError
from jobs.executors.attempts import ATTEMPTS, ROOT_PACKAGES, Outcome, Work, attempt, worker_died
from jobs.executors.cores import share_cores

# Ray Data runs a block as a task. Beyond this many blocks its bookkeeping is slow, so several items share a block.
MOST_BLOCKS = 10_000

ANSWER_SECONDS = 10.0  # how long the cluster at RAY_ADDRESS may take to accept a connection


def run(work: Work, workers: int | None, threads: int | None, gpu: bool) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator stops the stream. Ray keeps running for the next job."""
    import ray

    start_ray()
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0)) if gpu else 0
    cores = int(resources["CPU"])
    # An actor runs on one node, so it gets no more threads than the smallest node has cores.
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    node_cores = min(int(node["Resources"]["CPU"]) for node in nodes if node["Resources"].get("CPU"))
    workers, threads = share_cores(cores, workers or gpus or None, threads or node_cores)
    threads = min(threads, node_cores)
    workers = min(workers, len(work.items))
    # Ray retries a task whose actor died, without limit (its option for one is deprecated), so deaths are counted here.
    starts = ray.remote(num_cpus=0)(Starts).remote()
    context = _quiet_context()
    with ray.data.DataContext.current(context):
        dataset = ray.data.from_items(
            [{"position": position} for position in range(len(work.items))],
            override_num_blocks=min(len(work.items), MOST_BLOCKS),
        ).map_batches(
            Attempts,
            fn_constructor_args=(work, starts),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=min(threads, resources["CPU"] / workers),  # below 1 with more workers than cores
            num_gpus=1 if gpus else None,
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            yield from batch["outcome"]


def start_ray(object_store_memory: int | None = None) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start a Ray on this machine; do nothing if this process has a Ray.

    No other cluster is joined: without an address Ray would join the one that /tmp/ray/ray_current_cluster names, which
    may be another user's, or dead. object_store_memory: bytes, for a Ray started here; by default 30% of memory.

    Raises:
        BadInput: no cluster answers at RAY_ADDRESS.
        ClipmineError: Ray's daemons failed to start here twice.
    """
    # Under `uv run`, Ray would rebuild the environment for every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray's future default, set to avoid its warning: a task without GPUs keeps CUDA_VISIBLE_DEVICES.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Serve replaces an HTTP proxy that is not ready within 5 s; on a busy machine none ever is.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _check_answers(address)
        # Send our packages: the cluster's nodes may not have them.
        folders = [next(iter(importlib.import_module(name).__path__)) for name in ROOT_PACKAGES]
        try:
            ray.init(address=address, runtime_env={"py_modules": folders}, **quiet)
        except ConnectionError as error:
            raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there") from error
        return
    # Ray gives its workers niceness 15, which starves them beside any other program.
    os.environ.setdefault("RAY_worker_niceness", "0")
    own: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False}
    own["object_store_memory"] = object_store_memory
    try:
        ray.init(address="local", **own, **quiet)
    except Exception:  # Ray raises a bare Exception when a daemon starts too slowly, as on a busy machine
        ray.shutdown()
        try:
            ray.init(address="local", **own, **quiet)
        except Exception as error:
            ray.shutdown()
            line = str(error).strip().partition("\n")[0]
            raise ClipmineError(f"Ray did not start here ({line}); run again, or use --executor local") from error


def _check_answers(address: str) -> None:
    """BadInput when nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # "auto" and "local", which Ray resolves, or an address that it rejects itself
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there ({error})") from error


def _quiet_context() -> Any:
    import ray

    with warnings.catch_warnings():  # copying sets every field, and deprecated fields warn
        warnings.simplefilter("ignore")
        context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return context


class Starts:
    """An actor that counts how often each item was started. An item is started again when its worker has died."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def start(self, position: int) -> int:
        """Count one more start of the item at `position` and return how many that makes."""
        self.counts[position] += 1
        return self.counts[position]


class Attempts:
    """An actor of the pool. Its process keeps the work, and the model that the work's function has loaded."""

    def __init__(self, work: Work, starts: Any) -> None:
        self.work = work
        self.starts = starts

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.object_]]:
        """Outcomes [n] of the items at `batch["position"]` [n]."""
        outcomes = np.empty(len(batch["position"]), dtype=object)
        for row, position in enumerate(batch["position"]):
            outcomes[row] = self.attempt(int(position))
        return {"outcome": outcomes}

    def attempt(self, position: int) -> Outcome:
        """The outcome of one item: `WorkerDied` after its worker has died ATTEMPTS times."""
        import ray

        if ray.get(self.starts.start.remote(position)) > ATTEMPTS:
            return Outcome(position, failure=worker_died(self.work, position, "Ray lost its actor"))
        work = self.work
        return attempt(work.function, position, work.items[position], work.config, work.environment)
