"""The evaluate job: models x tasks x protocols x shots x seeds, each run written when it is done; then the tables.

Run again after an interruption, finished runs are read from OUT/runs.jsonl. Knows no algorithm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.encoder.model_spec import ModelSpec, model_identity
from index.errors import BadInput

if TYPE_CHECKING:
    from customize.clip.evaluate.features import EvalModel
    from customize.clip.evaluate.linear_probe import TrainPlan
    from customize.clip.evaluate.runs import Run
    from customize.clip.evaluate.self_training import SelfTraining
    from customize.clip.evaluate.tables import Table
    from customize.clip.evaluate.task_files import Task

__all__ = ["EvaluateConfig", "EvaluateSummary", "default_protocol", "result_tables", "run_evaluate"]


@dataclass(frozen=True)
class EvaluateConfig:
    """What to measure.

    Attributes:
        models: name shown -> model.
        tasks: names of task files, or files; data is where their images are, see `task_files.open_split`.
        protocols: of `customize.clip.evaluate.runs.PROTOCOLS`; none: the one of each task's kind.
        shots, shares: of the protocols that train; None among the shots is all images.
        seeds: of the training sets and of training.
        quick_search: nine settings instead of ELEVATER's search of about eighty.
        settings: (learning rate, weight decay) to use without any search.
    """

    models: tuple[tuple[str, ModelSpec], ...]
    tasks: tuple[str, ...]
    out: str
    data: str | None = None
    protocols: tuple[str, ...] = ()
    shots: tuple[int | None, ...] = (5,)
    shares: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    start: str = "text"
    epochs: int | None = None
    quick_search: bool = False
    settings: tuple[float, float] | None = None
    batch_size: int = 64
    device: str | None = None
    allow_empty: bool = False
    self_training: int | None = None  # steps of MaskCLIP+'s, for segmentation


@dataclass(frozen=True)
class EvaluateSummary:
    """Where the tables are, how many runs they hold, and how many of them were there before."""

    out: str
    runs: int
    reused: int
    results: list[dict[str, Any]]
    files: list[str]


def run_evaluate(config: EvaluateConfig, on_progress: Callable[[int, int], None] | None = None) -> EvaluateSummary:
    """Measure all runs and write OUT/runs.jsonl, results.md, results.csv and figures.

    Raises BadInput when a task has no such protocol or no images, before anything is measured where that can be known.
    """
    from customize.clip.evaluate.runs import Bench, check_run
    from customize.clip.evaluate.tables import write_tables
    from customize.clip.evaluate.task_files import load_task

    if not config.models or not config.tasks:
        raise BadInput("evaluate what? name at least one model and one --task")
    tasks = [load_task(name) for name in config.tasks]
    plans = [(task, run) for task in tasks for run in _runs(config, task)]
    for task, run in plans:
        check_run(task, run)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    known = _read_runs(out / "runs.jsonl")
    results: list[dict[str, Any]] = []
    reused = done = 0
    for name, spec in config.models:
        model: EvalModel | None = None
        identity = json.dumps(model_identity(spec), sort_keys=True)
        for task in tasks:
            bench: Bench | None = None
            for run in _runs(config, task):
                about = {
                    "model": name, "identity": identity, "task": task.name, "protocol": run.protocol,
                    "shots": run.shots, "share": run.share, "seed": run.seed, "setting": run.setting,
                    "how": _how(config, task),
                }  # fmt: skip
                key = _key(about)
                if key in known:
                    results.append({**known[key], "model": name})
                    reused += 1
                else:
                    model = model or _load(spec, config.device)
                    bench = bench or Bench(
                        model, task, config.data, config.batch_size, config.allow_empty, _plan(config), _self(config)
                    )
                    result = {**about, **bench.measure(run)}
                    with open(out / "runs.jsonl", "a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
                    results.append(result)
                done += 1
                if on_progress is not None:
                    on_progress(done, len(plans) * len(config.models))
    files = write_tables(result_tables(results), out, figures=_can_draw())
    return EvaluateSummary(str(out), len(results), reused, results, [str(path) for path in files])


def default_protocol(kind: str) -> str:
    """The protocol that measures a kind of task without training."""
    return {"classification": "zeroshot"}.get(kind, kind)


def result_tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """A table a setting: models are rows, tasks columns (with their mean), runs of several seeds one cell."""
    from customize.clip.evaluate.intervals import Interval, over_seeds
    from customize.clip.evaluate.tables import Table

    tables = []
    for setting in dict.fromkeys(result["setting"] for result in results):
        cells: dict[str, dict[str, list[float]]] = {}
        for result in results:
            if result["setting"] != setting:
                continue
            row = cells.setdefault(result["model"], {})
            parts = result.get("columns") or {"": result["score"]}
            for part, value in parts.items():
                row.setdefault(f"{result['task']} {part}".strip(), []).append(value)
        columns = list(dict.fromkeys(column for row in cells.values() for column in row))
        rows: dict[str, dict[str, Interval]] = {
            model: {column: over_seeds(values) for column, values in row.items()} for model, row in cells.items()
        }
        if len(columns) > 1 and all(not result.get("columns") for result in results if result["setting"] == setting):
            # The mean over tasks, seed by seed, as the thesis's table 2.2 averages 20 sets.
            for model, row in cells.items():
                if len({len(values) for values in row.values()}) == 1 and len(row) == len(columns):
                    by_seed = [sum(values) / len(values) for values in zip(*row.values(), strict=True)]
                    rows[model]["mean"] = over_seeds(by_seed)
            columns.append("mean")
        tables.append(Table(setting, tuple(columns), rows))
    return tables


def _runs(config: EvaluateConfig, task: Task) -> list[Run]:
    from customize.clip.evaluate.runs import Run

    found = []
    for protocol in config.protocols or (default_protocol(task.kind),):
        if protocol in ("linear-probe", "finetune"):
            sizes = [(shots, None) for shots in config.shots] if not config.shares else []
            sizes += [(None, share) for share in config.shares]  # type: ignore[misc]
            found += [Run(task.name, protocol, shots, share, seed) for shots, share in sizes for seed in config.seeds]
        else:
            found.append(Run(task.name, protocol))
    return found


def _plan(config: EvaluateConfig) -> TrainPlan:
    from customize.clip.evaluate.linear_probe import TrainPlan
    from customize.clip.evaluate.settings_search import QUICK_SEARCH, Settings

    choices: dict[str, Any] = {"start": config.start}
    if config.epochs is not None:
        choices |= {"epochs": config.epochs, "search_epochs": min(10, config.epochs)}
    if config.quick_search:
        choices["search"] = QUICK_SEARCH
    if config.settings is not None:
        choices["settings"] = Settings(*config.settings, validation=None)
    return TrainPlan(**choices)


def _self(config: EvaluateConfig) -> SelfTraining | None:
    from customize.clip.evaluate.self_training import SelfTraining

    return SelfTraining(steps=config.self_training) if config.self_training else None


def _how(config: EvaluateConfig, task: Task) -> list[Any]:
    """What else decides a run's figures, so that a changed choice is measured anew."""
    templates = task.templates if isinstance(task.templates, str) else list(task.templates)
    return [
        config.data, config.start, config.epochs, config.quick_search, config.settings and list(config.settings),
        config.allow_empty, config.self_training, task.metric, list(task.classes), templates,
    ]  # fmt: skip


def _key(result: dict[str, Any]) -> str:
    names = ("identity", "task", "protocol", "shots", "share", "seed", "how")
    return json.dumps([result.get(name) for name in names], sort_keys=True)


def _read_runs(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # the last line of a killed run
            continue
        found[_key(result)] = result
    return found


def _load(spec: ModelSpec, device: str | None) -> EvalModel:
    from customize.clip.evaluate.features import EvalModel
    from customize.clip.model_folder import load_base, load_customized

    loaded = load_customized(spec.model_dir, device) if spec.model_dir is not None else load_base(spec, device)
    return EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer, spec.precision)


def _can_draw() -> bool:
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None and not os.environ.get("CLIPMINE_NO_FIGURES")
