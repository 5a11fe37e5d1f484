"""The customize job: a selection or tars in, a customized CLIP out, here or on Ray, with its progress on stderr.

Training itself is `customize.clip.train.train.train`. On Ray each worker takes a share of each batch: one worker a GPU,
or processes of a machine without GPUs. When a worker dies, all start again and continue from the run's last checkpoint,
so the run's folder must be one that all workers see.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord
from customize.clip.train.loop import STEPS_NAME
from customize.clip.train.train import TrainSummary, train
from jobs.executors.ray_train import train_on_ray
from jobs.places import absolute
from jobs.training_progress import StepsProgress, TrainingProgress, check_training_executor

__all__ = ["StepProgress", "run_customize"]


class StepProgress(StepsProgress[StepRecord]):
    """Progress of a training run that also shows loss, accuracy, logit scale and gates."""

    def _rate(self) -> str:
        if self.record is None:
            return ""
        now = self.record
        gates = "".join(f", {name} gates {value:.3f}" for name, value in now.gates.items())
        return f"loss {now.loss:.4f}, accuracy {now.accuracy:.3f}, logit scale {now.logit_scale:.1f}{gates}"


def run_customize(config: CustomizeConfig, *, executor: str = "local", workers: int | None = None) -> TrainSummary:
    """Train as `config` says, with progress on stderr.

    Args:
        executor: "local": this process, on one device; "ray": Ray Train's workers, on the cluster at RAY_ADDRESS or on
            a Ray started here.
        workers: number of Ray's workers; by default one a GPU, or one.

    Raises:
        BadInput: unknown executor, several workers without Ray, and what `customize.clip.train.train.train` raises.
    """
    check_training_executor(executor, workers)
    folders = ("out", "store", "selection", "tars")
    places: dict[str, Any] = {name: absolute(getattr(config, name)) for name in folders}
    config = replace(config, **places)
    show = TrainingProgress("customize", StepProgress, unit="pairs")
    if executor == "ray":

        def follow(records: list[dict[str, Any]], total: int) -> None:
            show.step(StepRecord(**records[-1]), total)

        summary: TrainSummary = train_on_ray("customize", train, config, workers, steps_file=STEPS_NAME, on_log=follow)
    else:
        summary = train(config, on_step=show.step, on_warning=show.warning, on_progress=show.progress)
    for line in summary.warnings:
        show.warning(line)
    return summary
