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
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from index.errors import ClipmineError
from index.files import exists, join, read_bytes
from jobs.executors.attempts import ATTEMPTS, Failure, Outcome, Work, attempt, raise_failure, worker_died
from jobs.executors.on_ray import start_ray
from jobs.executors.ray_pool import NOTICE_SECONDS
from jobs.executors.ray_resources import PoolPlan, describe_nodes, living_nodes, plan_pool

__all__ = ["train_on_ray"]

POLL_SECONDS = 1.0
# How long a worker waits for another: the first alone gathers the pairs, and ten million pairs take minutes.
TIMEOUT_SECONDS = 4 * 3600

# What gloo and NCCL say when a worker has gone.
_LOST = re.compile(r"gloo|nccl|connection|socket|broken pipe|timed out", re.IGNORECASE)

# Called with the records of a run's log, as JSON objects, and its total number of steps.
OnLog = Callable[[list[dict[str, Any]], int], None]


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
        plan = plan_pool(living_nodes(), workers, None, gpu=config.device != "cpu")
        if workers is None and not plan.gpus:
            plan = replace(plan, workers=1)
        with _following(config.out, steps_file, on_log, partial(_say_if_waiting, label, plan, failures)):
            result = _fit(label, function, config, plan, failures)
        if result is not None:
            return result
        outcome, lost = ray.get(failures.take.remote())
        if outcome is not None:
            raise_failure(work, outcome)
    raise_failure(work, Outcome(0, failure=worker_died(work, 0, lost or "Ray Train lost its workers")))


def _fit(label: str, function: Callable[[Any], Any], config: Any, plan: PoolPlan, failures: Any) -> Any:
    """One attempt to train; None when it failed."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    count, threads = plan.workers, max(1, int(plan.cpus))
    cores = sum(int(node.get("CPU", 0)) for node in living_nodes())
    # Half a core is left for Ray Train's controller where that is possible.
    own = {"CPU": min(plan.cpus, max(0.5, (cores - 0.5) / count)), **({"GPU": 1} if plan.gpus else {})}
    for name in ("ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with TemporaryDirectory(prefix="clipmine-train-") as storage, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copying Ray Data's context sets every field, the deprecated ones too
        trainer: Any = TorchTrainer(
            _worker,
            train_loop_config={"function": function, "config": config, "threads": threads, "failures": failures},
            scaling_config=ScalingConfig(num_workers=count, use_gpu=bool(plan.gpus), resources_per_worker=own),
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

    ray.get(arguments["failures"].begin.remote())
    torch.set_num_threads(arguments["threads"])
    config = replace(arguments["config"], device=str(get_device()))
    outcome = attempt(lambda own, _: arguments["function"](own), 0, config, None)
    if outcome.failure is not None:
        # Sent as data, so that the message is the same as without Ray; raised as well, so that no worker waits for it.
        ray.get(arguments["failures"].add.remote(outcome))
        raise RuntimeError(f"{outcome.failure.name}: {outcome.failure.message}")
    return outcome.result


def _say_if_waiting(label: str, plan: PoolPlan, failures: Any) -> None:
    """Tell the reader what Ray Train waits for where no worker has begun."""
    import ray

    if not ray.get(failures.begun.remote()):
        print(
            f"{label}: waits for {plan.workers} workers, each on a node with {plan.needs()}; the cluster has "
            f"{describe_nodes(living_nodes())} (Ctrl-C stops)",
            file=sys.stderr,
            flush=True,
        )


class _Failures:
    """An actor that collects the workers' errors. User errors win over the connection errors that they cause."""

    def __init__(self) -> None:
        self._all: list[Outcome] = []
        self._begun = False

    def begin(self) -> None:
        """A worker has begun."""
        self._begun = True

    def begun(self) -> bool:
        """Whether any worker has begun."""
        return self._begun

    def add(self, outcome: Outcome) -> None:
        self._all.append(outcome)

    def take(self) -> tuple[Outcome | None, str]:
        """The error to report: a user's error first, then the first that is not a lost connection.

        None when a worker died, or lost its peers: training is then tried again. The first lost connection is told
        beside it, "" where there was none.
        """
        found, self._all, self._begun = self._all, [], False
        failures = [outcome.failure for outcome in found if outcome.failure]
        lost = next((f"{each.name}: {each.message}".splitlines()[0] for each in failures if _lost(each)), "")
        for outcome in found:
            assert outcome.failure is not None
            kind = getattr(importlib.import_module(outcome.failure.module), outcome.failure.name, None)
            if isinstance(kind, type) and issubclass(kind, ClipmineError):
                return outcome, lost
        return next((outcome for outcome in found if outcome.failure and not _lost(outcome.failure)), None), lost


def _lost(failure: Failure) -> bool:
    """Whether an error says that a worker lost another one. torch raises a RuntimeError for that, as for much else."""
    if failure.name in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return True
    return failure.name == "RuntimeError" and _LOST.search(failure.message) is not None


@contextlib.contextmanager
def _following(out: str, steps_file: str, on_log: OnLog | None, say_if_waiting: Callable[[], None]) -> Iterator[None]:
    """Show the run's log as it grows, from a thread; what workers print goes to Ray's log files."""
    from customize.clip.train.log import read_lines

    ended = threading.Event()
    path, total_path = join(out, "log.jsonl"), join(out, steps_file)

    def follow() -> None:
        shown, asked = 0, time.monotonic()
        while True:
            last = ended.wait(POLL_SECONDS)
            if not last and time.monotonic() - asked > NOTICE_SECONDS:
                asked = time.monotonic()
                say_if_waiting()
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
