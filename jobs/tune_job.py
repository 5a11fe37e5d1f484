"""The tune job: samples and a multimodal model in, a tuned model out, here or on Ray, with its progress on stderr.

Training itself is `customize.lmm.train.tune.tune`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from customize.lmm.data.source_spec import SourceSpec
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.generations import Generation
from customize.lmm.train.log import TuneRecord
from customize.lmm.train.loop import STEPS_NAME
from customize.lmm.train.tune import TuneSummary, tune
from index.files import exists, is_local
from jobs.executors.ray_train import train_on_ray
from jobs.places import absolute
from jobs.training_progress import StepsProgress, TrainingProgress, check_training_executor

__all__ = ["TuneProgress", "absolute_config", "run_tune"]

SHOWN = 200  # characters of an answer on stderr


class TuneProgress(StepsProgress[TuneRecord]):
    """Progress of a tuning run that also shows the loss, of each source too where there are several, and the speed."""

    first: TuneRecord | None = None
    samples = 0

    def see(self, record: TuneRecord, total: int) -> None:
        if self.first is None:
            self.first = record
        else:
            self.samples += record.samples
        super().see(record, total)

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


def run_tune(config: TuneConfig, *, executor: str = "local", workers: int | None = None) -> TuneSummary:
    """Tune as `config` says, with progress on stderr.

    Args:
        executor: "local": this process, on one device; "ray": Ray Train's workers, on the cluster at RAY_ADDRESS or on
            a Ray started here.
        workers: number of Ray's workers; by default one a GPU, or one.

    Raises:
        BadInput: unknown executor, several workers without Ray, and what `customize.lmm.train.tune.tune` raises.
    """
    check_training_executor(executor, workers)
    config = absolute_config(config)
    show = TrainingProgress("tune", TuneProgress)

    def answers(found: Sequence[Generation]) -> None:
        for each in found:
            answer, expected = (" ".join(text.split())[:SHOWN] for text in (each.answer, each.expected))
            show.say(f"step {each.step}, {each.sample_id}: {answer!r}, expected {expected!r}")

    if executor == "local":
        return tune(config, on_step=show.step, on_progress=show.progress, on_generations=answers)

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
