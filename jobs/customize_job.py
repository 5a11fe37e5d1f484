"""The customize job: a selection or tars in, a customized CLIP out, here or on Ray, with its progress on stderr.

Knows how the work is shown and distributed; `customize.clip.train.train` does it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, TextIO

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord
from customize.clip.train.train import TrainSummary, train
from index.errors import BadInput
from index.files import is_local, local_path
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

__all__ = ["StepProgress", "run_customize"]

EXECUTORS = ("local", "ray")


class StepProgress(Progress):
    """Progress of a training: beside the steps, the loss, the accuracy, the temperature and the gates."""

    record: StepRecord | None = None

    def see(self, record: StepRecord, total: int) -> None:
        """`record` is the last step of `total`."""
        self.record = record
        self.reach(record.step, total)

    def _rate(self) -> str:
        if self.record is None:
            return ""
        now = self.record
        gates = "".join(f", {name} gates {value:.3f}" for name, value in now.gates.items())
        return f"loss {now.loss:.4f}, accuracy {now.accuracy:.3f}, logit scale {now.logit_scale:.1f}{gates}"


class _Show:
    """What a training says, on stderr."""

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
    """Train as `config` says and show how it goes.

    Args:
        executor: "local": this process, on one device; "ray": Ray Train's workers (RAY_ADDRESS, else this machine).
        workers: of Ray; by default one a GPU, or one.

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
        from jobs.customize_ray import train_on_ray

        summary = train_on_ray(config, workers, on_step=show.step, on_warning=show.warning)
    else:
        summary = train(config, on_step=show.step, on_warning=show.warning, on_progress=show.progress)
    for line in summary.warnings:
        show.warning(line)
    return summary


def _absolute(path: str | None) -> str | None:
    """A worker may run in another folder than the command."""
    return str(local_path(path).absolute()) if path is not None and is_local(path) else path
