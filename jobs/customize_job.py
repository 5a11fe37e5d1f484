"""The customize job: a selection or tars in, a customized CLIP out, here or on Ray, with its progress on stderr.

Training itself is `customize.clip.train.train.train`. On Ray each worker takes a share of each batch: one worker a GPU,
or processes of a machine without GPUs. When a worker dies, all start again and continue from the run's last checkpoint,
so the run's folder must be one that all workers see.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, TextIO

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord
from customize.clip.train.loop import STEPS_NAME
from customize.clip.train.train import TrainSummary, train
from index.errors import BadInput
from jobs.executors.ray_train import absolute, train_on_ray
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

__all__ = ["StepProgress", "run_customize"]

EXECUTORS = ("local", "ray")


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
    places: dict[str, Any] = {name: absolute(getattr(config, name)) for name in folders}
    config = replace(config, **places)
    show = _Show()
    if executor == "ray":

        def follow(records: list[dict[str, Any]], total: int) -> None:
            show.step(StepRecord(**records[-1]), total)

        summary: TrainSummary = train_on_ray("customize", train, config, workers, steps_file=STEPS_NAME, on_log=follow)
    else:
        summary = train(config, on_step=show.step, on_warning=show.warning, on_progress=show.progress)
    for line in summary.warnings:
        show.warning(line)
    return summary
