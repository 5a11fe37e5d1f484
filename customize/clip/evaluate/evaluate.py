"""Measures models on tasks: each finished run is a line of OUT/runs.jsonl, and all runs together become tables.

    summary = evaluate(EvaluateConfig(models=(("mine", spec),), tasks=("dtd",), data="DATA", out="evaluation"))

    OUT/
      runs.jsonl                          one run a line: what was measured, and its figures
      results.md, results.csv             the tables
      results_0.png, ...                  a figure for each table, where matplotlib is installed

After an interruption the same call reads the finished runs from runs.jsonl and measures the missing ones.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.hyperparameters import QUICK_SEARCH, Hyperparameters
from customize.clip.evaluate.linear_probe import TrainPlan
from customize.clip.evaluate.run_identity import describe_run, run_key
from customize.clip.evaluate.runs import Bench, Run, check_run, plan_runs
from customize.clip.evaluate.self_training import SelfTraining
from customize.clip.evaluate.tables import result_tables, write_tables
from customize.clip.evaluate.task_files import Task, load_task, open_split
from customize.clip.model_folder import load_base, load_customized
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput

__all__ = ["EvaluateSummary", "evaluate"]


@dataclass(frozen=True)
class EvaluateSummary:
    """What was measured.

    Attributes:
        out: folder of the tables.
        runs: how many runs were asked for; the tables also have the folder's other runs.
        reused: how many of them were read from an earlier evaluation.
        results: a run each, as in runs.jsonl.
        files: paths of the tables and figures.
    """

    out: str
    runs: int
    reused: int
    results: list[dict[str, Any]]
    files: list[str]


def evaluate(config: EvaluateConfig, on_progress: Callable[[int, int], None] | None = None) -> EvaluateSummary:
    """Measure all runs of `config` and write the tables; on_progress(done, total) is called after each run.

    Raises:
        BadInput: no such task or protocol, a protocol that does not fit a task, or a task whose images are missing.
    """
    planned = [(task, plan_runs(config, task)) for task in map(load_task, config.tasks)]
    for task, runs in planned:
        for run in runs:
            check_run(task, run)
    _refuse_without_effect(config, [(task, run) for task, runs in planned for run in runs])
    total = len(config.models) * sum(len(runs) for _, runs in planned)
    out = Path(config.out)
    finished = _read_runs(out / "runs.jsonl")
    results: list[dict[str, Any]] = []
    contents = [functools.cache(functools.partial(_content, config, task)) for task, _ in planned]  # by split
    reused = 0
    for name, spec in config.models:
        model: EvalModel | None = None
        for (task, runs), content in zip(planned, contents, strict=True):
            bench: Bench | None = None
            for run in runs:
                about = {"model": name, **describe_run(config, spec, task, run, content)}
                earlier = finished.get(run_key(about))
                if earlier is not None:
                    results.append({**earlier, "model": name})
                    reused += 1
                else:
                    model = model or _load(spec, config.device)
                    bench = bench or _bench(config, model, task)
                    results.append({**about, **bench.measure(run)})
                    out.mkdir(parents=True, exist_ok=True)  # not before there is something to write
                    with (out / "runs.jsonl").open("a", encoding="utf-8") as file:
                        file.write(json.dumps(results[-1]) + "\n")
                if on_progress is not None:
                    on_progress(len(results), total)
    out.mkdir(parents=True, exist_ok=True)
    files = write_tables(result_tables(_all_runs(results, finished)), out, figures=_can_draw())
    return EvaluateSummary(str(out), len(results), reused, results, [str(path) for path in files])


def _all_runs(results: list[dict[str, Any]], finished: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """`results`, and then the other runs of the folder.

    Of the runs that would share a cell of a table, only those that were made as its latest one are kept.
    """

    def cell(run: dict[str, Any]) -> tuple[Any, ...]:
        return run.get("model"), run.get("task"), run.get("setting")

    def way(run: dict[str, Any]) -> str:
        return run_key({**run, "seed": None})

    ways = {cell(run): way(run) for run in (*finished.values(), *results)}
    runs = {run_key(run): run for run in finished.values()}
    for run in results:
        runs.pop(run_key(run), None)
    return [*results, *(run for run in runs.values() if ways[cell(run)] == way(run))]


def _content(config: EvaluateConfig, task: Task, split: str) -> Any:
    return open_split(task, config.data, split).content()


def _refuse_without_effect(config: EvaluateConfig, planned: Sequence[tuple[Task, Run]]) -> None:
    """Raise BadInput for options that change nothing in any run."""
    kinds, protocols = {task.kind for task, _ in planned}, {run.protocol for _, run in planned}
    if config.train_list is not None and not protocols & {"linear-probe", "finetune"}:
        raise BadInput(f"--train-list {config.train_list}: only --protocol linear-probe and finetune train on images")
    if config.resolution is not None and not kinds & {"segmentation", "regions"}:
        raise BadInput(f"--resolution {config.resolution}: only tasks of segmentation and regions have one")
    if config.window is not None and "segmentation" not in kinds:
        raise BadInput(f"--window {config.window}: only tasks of segmentation use windows")


def _read_runs(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # the last line of an evaluation that was killed
            continue
        found[run_key(result)] = result
    return found


def _load(spec: ModelSpec, device: str | None) -> EvalModel:
    loaded = load_customized(spec.model_dir, device) if spec.model_dir is not None else load_base(spec, device)
    return EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer, spec.precision)


def _bench(config: EvaluateConfig, model: EvalModel, task: Task) -> Bench:
    return Bench(
        model,
        task,
        config.data,
        config.batch_size,
        config.allow_empty,
        _train_plan(config),
        SelfTraining(steps=config.self_training) if config.self_training else None,
        config.resolution,
        config.window,
    )


def _train_plan(config: EvaluateConfig) -> TrainPlan:
    choices: dict[str, Any] = {"start": config.start}
    if config.epochs is not None:
        choices |= {"epochs": config.epochs, "search_epochs": min(TrainPlan.search_epochs, config.epochs)}
    if config.quick_search:
        choices["search"] = QUICK_SEARCH
    if config.lr is not None:
        choices["fixed"] = Hyperparameters(config.lr, config.weight_decay or 0.0, validation=None)
    return TrainPlan(**choices)


def _can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None and not os.environ.get("CLIPMINE_NO_FIGURES")
