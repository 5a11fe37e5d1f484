"""What decides the figures of a run: two runs with the same identity need to be measured once.

It has the model's content, the task, the content of the files that are read, and the options of the run's protocol. It
has no places of files, so that data and models may be moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.runs import Run
from customize.clip.evaluate.task_files import Task
from customize.clip.evaluate.train_list import read_train_list
from index.encoder.model_spec import ModelSpec, model_identity
from index.files import hash_json
from retrieval.templates import load_templates

__all__ = ["describe_run", "run_key", "splits_of"]

_METHOD = 2  # to be raised when a protocol measures in another way, so that earlier figures are not mixed with new ones


def splits_of(config: EvaluateConfig, task: Task, run: Run) -> list[str]:
    """The splits whose images decide a run's figures."""
    trains = run.protocol in ("linear-probe", "finetune")
    if run.protocol == "segmentation":
        trains = config.self_training is not None and "train" in task.splits
    return ["train", "test"] if trains else ["test"]


def describe_run(
    config: EvaluateConfig, spec: ModelSpec, task: Task, run: Run, content: Callable[[str], Any]
) -> dict[str, Any]:
    """What decides a run's figures, as plain JSON values; a run with another description is measured anew.

    content: tells the content of a split of the task, see `Dataset.content`.
    """
    return {
        "identity": json.dumps(model_identity(spec), sort_keys=True),
        "task": task.name,
        "protocol": run.protocol,
        "shots": run.shots,
        "share": run.share,
        "seed": run.seed,
        "setting": run.setting,
        "how": {
            "method": _METHOD,
            "task": hash_json(_of_task(task)),
            "images": hash_json({name: content(name) for name in splits_of(config, task, run)}),
            "allow_empty": config.allow_empty,
            **_of_protocol(config, task, run),
        },
    }


def run_key(result: dict[str, Any]) -> str:
    """A text that is the same for runs of one identity; `result` is what `describe_run` returns, or a line of a run."""
    names = ("identity", "task", "protocol", "shots", "share", "seed", "how")
    return json.dumps([result.get(name) for name in names], sort_keys=True)


def _of_task(task: Task) -> dict[str, Any]:
    return {
        "kind": task.kind,
        "metric": task.metric,
        "classes": list(task.classes),
        "templates": list(load_templates(task.templates).texts),  # what the set or file of this name holds
        "folders": task.folders,
        "columns": dict(task.columns),
        "splits": dict(task.splits),
        "novel": list(task.novel),
        "background": list(task.background),
        "captions": task.captions,
    }


def _of_protocol(config: EvaluateConfig, task: Task, run: Run) -> dict[str, Any]:
    """The options that change the figures of this protocol."""
    if run.protocol in ("linear-probe", "finetune"):
        return {
            "start": config.start,
            "epochs": config.epochs,
            "quick_search": config.quick_search,
            "fixed": None if config.lr is None else [config.lr, config.weight_decay or 0.0],
            "train_list": None if run.train_list is None else hash_json(read_train_list(run.train_list)),
        }
    resolution = config.resolution or task.resolution
    if run.protocol == "segmentation":
        return {"resolution": resolution, "window": config.window, "self_training": config.self_training}
    return {"resolution": resolution} if run.protocol == "regions" else {}
