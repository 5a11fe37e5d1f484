"""Trains on Ray Train: N workers run one function, and its log is followed from here while they work.

One worker a GPU, or processes of a machine without GPUs. When a worker dies, all start again and continue from the
run's last checkpoint, so the run's folder must be one that all workers see.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

from index.errors import ClipmineError
from index.files import exists, is_local, join, local_path, read_bytes
from jobs.executors.attempts import ATTEMPTS, Outcome, Work, attempt, raise_failure, worker_died
from jobs.executors.cores import share_cores
from jobs.executors.on_ray import start_ray

__all__ = ["absolute", "train_on_ray"]

POLL_SECONDS = 1.0
# How long a worker waits for another: the first alone gathers the pairs, and ten million pairs take minutes.
TIMEOUT_SECONDS = 4 * 3600

# Called with the records of a run's log, as JSON objects, and its total number of steps.
OnLog = Callable[[list[dict[str, Any]], int], None]


def absolute(path: str | None) -> str | None:
    """Local paths made absolute: a worker may run in another folder than the command."""
    return str(local_path(path).absolute()) if path is not None and is_local(path) else path


def train_on_ray(
    label: str,
    function: Callable[[Any], Any],
    config: Any,
    workers: int | None,
    *,
    steps_file: str,
    on_log: OnLog | None = None,
) -> Any:
    """`function(config)` on each of `workers` workers, joined by torch.distributed; returns what it returns.

    Ray 2.60: after this, a fork of the same process (starting Spark forks) breaks Ray's actor notifications in this
    process, and later Ray jobs hang; the command has its own process.

    Args:
        label: names the job in messages.
        function: importable; the workers give it `config` with their device.
        config: a dataclass with the fields `out` and `device`.
        workers: by default one a GPU, or one.
        steps_file: file below `config.out` with the total number of steps, as {"steps": N}.
        on_log: called as `config.out`/log.jsonl grows.

    Raises:
        ClipmineError: what a worker raised, as it raised it; WorkerDied when workers died three times.
    """
    # Version 2 of Ray Train returns the workers' values; some installations still default to version 1.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    start_ray()
    import ray

    remote: Any = ray.remote(num_cpus=0)
    failures = remote(_Failures).remote()
    named: Any = function  # takes one argument, unlike an item's function; `work` only names it in messages
    work = Work(label, named, [config], config)
    for _ in range(ATTEMPTS):
        with _following(config.out, steps_file, on_log):
            result = _fit(label, function, config, workers, failures)
        if result is not None:
            return result
        outcome: Any = ray.get(failures.take.remote())
        if outcome is not None:
            raise_failure(work, outcome)
    raise_failure(work, Outcome(0, failure=worker_died(work, 0, "Ray Train lost its workers")))


def _fit(label: str, function: Callable[[Any], Any], config: Any, workers: int | None, failures: Any) -> Any:
    """One attempt to train; None when it failed."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0)) if config.device != "cpu" else 0
    count = workers or gpus or 1
    cores = int(resources["CPU"])
    _, threads = share_cores(cores, count, None)
    # Half a core is left for Ray Train's controller where that is possible.
    own = {"CPU": min(float(threads), max(0.5, (cores - 0.5) / count)), **({"GPU": 1} if gpus else {})}
    for name in ("ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with TemporaryDirectory(prefix="clipmine-train-") as storage, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copying Ray Data's context sets every field, the deprecated ones too
        trainer: Any = TorchTrainer(
            _worker,
            train_loop_config={"function": function, "config": config, "threads": threads, "failures": failures},
            scaling_config=ScalingConfig(num_workers=count, use_gpu=bool(gpus), resources_per_worker=own),
            torch_config=TorchConfig(timeout_s=TIMEOUT_SECONDS),
            run_config=RunConfig(name=label, storage_path=storage),
        )
        try:
            return trainer.fit().return_value
        except TrainingFailedError:
            return None


def _worker(arguments: dict[str, Any]) -> Any:
    """The function that each worker of Ray Train runs."""
    import ray
    import torch
    from ray.train.torch import get_device

    torch.set_num_threads(arguments["threads"])
    config = replace(arguments["config"], device=str(get_device()))
    outcome = attempt(lambda own, _: arguments["function"](own), 0, config, None)
    if outcome.failure is not None:
        # Sent as data, so that the message is the same as without Ray; raised as well, so that no worker waits for it.
        ray.get(arguments["failures"].add.remote(outcome))
        raise RuntimeError(f"{outcome.failure.name}: {outcome.failure.message}")
    return outcome.result


class _Failures:
    """An actor that collects the workers' errors. User errors win over the connection errors that they cause."""

    def __init__(self) -> None:
        self._all: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self._all.append(outcome)

    def take(self) -> Outcome | None:
        """The error to report: a user's error first, then any that is not a lost connection.

        None when a worker died, or lost its peers: training is then tried again.
        """
        found, self._all = self._all, []
        for outcome in found:
            assert outcome.failure is not None
            kind = getattr(importlib.import_module(outcome.failure.module), outcome.failure.name, None)
            if isinstance(kind, type) and issubclass(kind, ClipmineError):
                return outcome
        lost = ("DistBackendError", "DistNetworkError", "RuntimeError")
        return next((outcome for outcome in found if outcome.failure and outcome.failure.name not in lost), None)


@contextlib.contextmanager
def _following(out: str, steps_file: str, on_log: OnLog | None) -> Iterator[None]:
    """Show the run's log as it grows, from a thread; what workers print goes to Ray's log files."""
    from customize.clip.train.log import read_lines

    ended = threading.Event()
    path, total_path = join(out, "log.jsonl"), join(out, steps_file)

    def follow() -> None:
        shown = 0
        while True:
            last = ended.wait(POLL_SECONDS)
            if exists(path) and exists(total_path) and on_log is not None:
                total = int(json.loads(read_bytes(total_path))["steps"])
                records = read_lines(path)
                if records and records[-1]["step"] > shown:
                    shown = records[-1]["step"]
                    with contextlib.suppress(KeyboardInterrupt):  # the main thread gets it too
                        on_log(records, total)
            if last:
                return

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
