"""The customize job: a selection or tars in, a customized CLIP out, here or on Ray, with its progress on stderr.

Training itself is `customize.clip.train.train.train`. On Ray each worker takes a share of each batch: one worker a GPU,
or processes of a machine without GPUs. When a worker dies, all start again and continue from the run's last checkpoint,
so the run's folder must be one that all workers see.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.loop import STEPS_NAME
from customize.clip.train.train import TrainSummary, train
from index.errors import BadInput, ClipmineError
from index.files import exists, is_local, join, local_path, read_bytes
from jobs.executors.attempts import ATTEMPTS, Outcome, Work, attempt, raise_failure, worker_died
from jobs.executors.cores import share_cores
from jobs.executors.on_ray import start_ray
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

__all__ = ["StepProgress", "run_customize", "train_on_ray"]

EXECUTORS = ("local", "ray")
POLL_SECONDS = 1.0
# How long a worker waits for another: the first alone gathers the pairs, and ten million pairs take minutes.
TIMEOUT_SECONDS = 4 * 3600


class StepProgress(Progress):
    """Progress of a training run that also shows loss, accuracy, logit scale and gates."""

    record: StepRecord | None = None

    def see(self, record: StepRecord, total: int) -> None:
        """Show `record`, the latest of `total` steps."""
        self.record = record
        self.reach(record.step, total)

    def _rate(self) -> str:
        if self.record is None:
            return ""
        now = self.record
        gates = "".join(f", {name} gates {value:.3f}" for name, value in now.gates.items())
        return f"loss {now.loss:.4f}, accuracy {now.accuracy:.3f}, logit scale {now.logit_scale:.1f}{gates}"


class _Show:
    """Shows a training run's steps, preparation and warnings on stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._steps: StepProgress | None = None
        self._other: Progress | None = None

    def step(self, record: StepRecord, total: int) -> None:
        if self._steps is None:
            self._steps = StepProgress("customize", total, unit="steps", stream=self._stream)
            self._steps.__enter__()
        self._steps.see(record, total)
        if record.step == total:
            self._steps.__exit__(None, None, None)
        stop_if_interrupted()

    def progress(self, label: str, done: int, total: int) -> None:
        if self._other is None or self._other.label != label:
            self._other = Progress(label, total, unit="pairs", stream=self._stream)
            self._other.__enter__()
        self._other.reach(done, total)
        stop_if_interrupted()

    def warning(self, line: str) -> None:
        print(f"warning: {line}", file=self._stream, flush=True)


def run_customize(config: CustomizeConfig, *, executor: str = "local", workers: int | None = None) -> TrainSummary:
    """Train as `config` says, with progress on stderr.

    Args:
        executor: "local": this process, on one device; "ray": Ray Train's workers, on the cluster at RAY_ADDRESS or on
            a Ray started here.
        workers: number of Ray's workers; by default one a GPU, or one.

    Raises:
        BadInput: unknown executor, several workers without Ray, and what `customize.clip.train.train.train` raises.
    """
    if executor not in EXECUTORS:
        raise BadInput(f"--executor {executor}: training runs on local or ray")
    if executor == "local" and workers not in (None, 1):
        raise BadInput(f"--workers {workers}: several workers train together on Ray; add --executor ray")
    folders = ("out", "store", "selection", "tars")
    absolute: dict[str, Any] = {name: _absolute(getattr(config, name)) for name in folders}
    config = replace(config, **absolute)
    show = _Show()
    if executor == "ray":
        summary = train_on_ray(config, workers, on_step=show.step, on_warning=show.warning)
    else:
        summary = train(config, on_step=show.step, on_warning=show.warning, on_progress=show.progress)
    for line in summary.warnings:
        show.warning(line)
    return summary


def _absolute(path: str | None) -> str | None:
    """Local paths made absolute: a worker may run in another folder than the command."""
    return str(local_path(path).absolute()) if path is not None and is_local(path) else path


def train_on_ray(
    config: CustomizeConfig,
    workers: int | None = None,
    *,
    on_step: Callable[[StepRecord, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> TrainSummary:
    """`customize.clip.train.train.train` on `workers` workers; by default one a GPU, or one.

    on_step is called from the run's log as it grows. Ray 2.60: after this, a fork of the same process (starting Spark
    forks) breaks Ray's actor notifications in this process, and later Ray jobs hang; the command has its own process.

    Raises:
        ClipmineError: what a worker raised, as it raised it; WorkerDied when workers died three times.
    """
    # Version 2 of Ray Train returns the workers' values; some installations still default to version 1.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    start_ray()
    import ray

    remote: Any = ray.remote(num_cpus=0)
    failures = remote(_Failures).remote()
    function: Any = train  # takes one argument, unlike an item's function; `work` only names it in messages
    work = Work("customize", function, [config], config)
    for _ in range(ATTEMPTS):
        with _following(config.out, on_step, on_warning):
            summary = _fit(config, workers, failures)
        if summary is not None:
            return summary
        outcome: Any = ray.get(failures.take.remote())
        if outcome is not None:
            raise_failure(work, outcome)
    raise_failure(work, Outcome(0, failure=worker_died(work, 0, "Ray Train lost its workers")))


def _fit(config: CustomizeConfig, workers: int | None, failures: Any) -> TrainSummary | None:
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
            _worker,  # type: ignore[arg-type]
            train_loop_config={"config": config, "threads": threads, "failures": failures},
            scaling_config=ScalingConfig(num_workers=count, use_gpu=bool(gpus), resources_per_worker=own),
            torch_config=TorchConfig(timeout_s=TIMEOUT_SECONDS),
            run_config=RunConfig(name="customize", storage_path=storage),
        )
        try:
            summary: TrainSummary | None = trainer.fit().return_value
        except TrainingFailedError:
            return None
    return summary


def _worker(arguments: dict[str, Any]) -> TrainSummary:
    """The function that each worker of Ray Train runs."""
    import ray
    import torch
    from ray.train.torch import get_device

    config: CustomizeConfig = arguments["config"]
    torch.set_num_threads(arguments["threads"])
    device = str(get_device())
    outcome = attempt(lambda own, _: train(own), 0, replace(config, device=device), None)
    if outcome.failure is not None:
        # Sent as data, so that the message is the same as without Ray; raised as well, so that no worker waits for it.
        ray.get(arguments["failures"].add.remote(outcome))
        raise RuntimeError(f"{outcome.failure.name}: {outcome.failure.message}")
    summary: TrainSummary = outcome.result
    return summary


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
def _following(
    out: str, on_step: Callable[[StepRecord, int], None] | None, on_warning: Callable[[str], None] | None
) -> Iterator[None]:
    """Show the run's log as it grows, from a thread; what workers print goes to Ray's log files."""
    ended = threading.Event()
    path, total_path = join(out, "log.jsonl"), join(out, STEPS_NAME)

    def follow() -> None:
        shown = 0
        while True:
            last = ended.wait(POLL_SECONDS)
            if exists(path) and exists(total_path) and on_step is not None:
                total = int(json.loads(read_bytes(total_path))["steps"])
                records = read_log(path)
                if records and records[-1].step > shown:
                    shown = records[-1].step
                    with contextlib.suppress(KeyboardInterrupt):  # the main thread gets it too
                        on_step(records[-1], total)
            if last:
                return

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
