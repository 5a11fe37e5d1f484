"""The tune job: samples and a multimodal model in, a tuned model out, here or on Ray, with its progress on stderr.

Training itself is `customize.lmm.train.tune.tune`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TextIO

from customize.lmm.data.sources import SourceSpec
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.generations import Generation
from customize.lmm.train.log import TuneRecord
from customize.lmm.train.loop import STEPS_NAME
from customize.lmm.train.tune import TuneSummary, tune
from index.errors import BadInput
from index.files import exists, is_local
from jobs.executors.ray_train import absolute, train_on_ray
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

__all__ = ["TuneProgress", "absolute_config", "run_tune"]

EXECUTORS = ("local", "ray")
SHOWN = 200  # characters of an answer on stderr


class TuneProgress(Progress):
    """Progress of a tuning run that also shows the loss, of each source too where there are several, and the speed."""

    record: TuneRecord | None = None
    first: TuneRecord | None = None
    samples = 0

    def see(self, record: TuneRecord, total: int) -> None:
        """Show `record`, the latest of `total` steps."""
        if self.first is None:
            self.first = record
        else:
            self.samples += record.samples
        self.record = record
        self.reach(record.step, total)

    def _rate(self) -> str:
        now, first = self.record, self.first
        if now is None or first is None:
            return ""
        parts = [f"loss {now.loss:.4f}"]
        if len(now.loss_by_source) > 1:
            parts[0] += " (" + ", ".join(f"{name} {loss:.3f}" for name, loss in now.loss_by_source.items()) + ")"
        if now.seconds > first.seconds:
            parts.append(f"{self.samples / (now.seconds - first.seconds):,.1f} samples/s")
        return ", ".join(parts)


class _Show:
    """Shows a tuning run's steps, preparation, answers and warnings on stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._steps: TuneProgress | None = None
        self._other: Progress | None = None

    def step(self, record: TuneRecord, total: int) -> None:
        if self._steps is None:
            self._steps = TuneProgress("tune", total, unit="steps", stream=self._stream)
            self._steps.__enter__()
        self._steps.see(record, total)
        if record.step == total:
            self._steps.__exit__(None, None, None)
        stop_if_interrupted()

    def progress(self, label: str, done: int, total: int) -> None:
        if self._other is None or self._other.label != label:
            self._other = Progress(label, total, unit="", stream=self._stream)
            self._other.__enter__()
        self._other.reach(done, total)
        stop_if_interrupted()

    def generations(self, found: Sequence[Generation]) -> None:
        for each in found:
            answer = " ".join(each.answer.split())[:SHOWN]
            expected = " ".join(each.expected.split())[:SHOWN]
            print(
                f"step {each.step}, {each.sample_id}: {answer!r}, expected {expected!r}", file=self._stream, flush=True
            )

    def warning(self, line: str) -> None:
        print(f"warning: {line}", file=self._stream, flush=True)


def run_tune(config: TuneConfig, *, executor: str = "local", workers: int | None = None) -> TuneSummary:
    """Tune as `config` says, with progress on stderr.

    Args:
        executor: "local": this process, on one device; "ray": Ray Train's workers, on the cluster at RAY_ADDRESS or on
            a Ray started here.
        workers: number of Ray's workers; by default one a GPU, or one.

    Raises:
        BadInput: unknown executor, several workers without Ray, and what `customize.lmm.train.tune.tune` raises.
    """
    if executor not in EXECUTORS:
        raise BadInput(f"--executor {executor}: training runs on local or ray")
    if executor == "local" and workers not in (None, 1):
        raise BadInput(f"--workers {workers}: several workers train together on Ray; add --executor ray")
    config = absolute_config(config)
    show = _Show()
    if executor == "local":
        return tune(config, on_step=show.step, on_progress=show.progress, on_generations=show.generations)

    def follow(records: list[dict[str, Any]], total: int) -> None:
        show.step(TuneRecord(**records[-1]), total)

    summary: TuneSummary = train_on_ray("tune", tune, config, workers, steps_file=STEPS_NAME, on_log=follow)
    return summary


def absolute_config(config: TuneConfig) -> TuneConfig:
    """The configuration with absolute local paths, since a worker may run in another folder than the command."""
    source = config.source
    parts = ("model", "vision_tower", "language_model", "projector", "adapter")
    named: dict[str, Any] = {name: _absolute_if_there(getattr(source, name)) for name in parts}
    return replace(
        config,
        out=str(absolute(config.out)),
        features=absolute(config.features),
        data=tuple(_absolute_spec(text) for text in config.data),
        generate_on=None if config.generate_on is None else _absolute_spec(config.generate_on),
        model=replace(source, **named),
    )


def _absolute_spec(text: str) -> str:
    """A source's spec with absolute places. Raises BadInput where it is none."""
    spec = SourceSpec.parse(text)
    options = dict(spec.options)
    if "images" in options:
        options["images"] = str(absolute(options["images"]))
    if spec.count is not None:
        options["count"] = str(spec.count)
    weight = "" if spec.weight is None else f":{spec.weight!r}"
    return f"{absolute(spec.place)}{weight}" + "".join(f",{name}={value}" for name, value in options.items())


def _absolute_if_there(name: str | None) -> str | None:
    """A name on the hub stays as it is; a path becomes absolute where something is there."""
    return absolute(name) if name is not None and is_local(name) and exists(name) else name
