"""Tunes and measures one arm with one seed and keeps its figures; runs in a process with one thread."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cad_ablation.arms import COLUMNS, Arm, Plan
from benchmarks.cad_ablation.world import World
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.tune import tune
from index.files import write_atomic
from jobs.demo.loop.gather import comparison_scores
from jobs.demo.loop.measure import measure_model
from jobs.demo.loop.settings import BASE, TUNE, cpu_precision
from mining.chat.local_model import LocalModel

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """An arm with its seed and the folder of the data. arm None: the model before tuning. keep: keep the model."""

    arm: Arm | None
    seed: int
    plan: Plan
    root: str
    keep: bool = False

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.seed}" if self.arm else "base"


def run_job(job: Job) -> Result:
    """Tune and measure an arm, or read the result of a finished one. The model is deleted unless others need it."""
    root = Path(job.root)
    path = root / "results" / f"{job.name}.json"
    model = root / "models" / job.name if job.arm is not None else Path(BASE)
    if path.exists():
        done: Result = json.loads(path.read_text())
        if set(COLUMNS) <= set(done["figures"]) or not model.exists():
            return done  # else it was measured by an earlier version of this script
    world = World(root, job.plan)
    result: Result = {"table": "base", "row": "base", "what": "before tuning", "seed": job.seed}
    if job.arm is not None:
        arm = job.arm
        if arm.after is not None:
            world.annotate(arm, job.seed, root / "models" / f"7-{arm.after}-{job.seed}")
        config = TuneConfig(
            out=str(model),
            data=world.sources(arm, job.seed),
            model=BASE,
            features=str(root / "features" / job.name),
            seed=job.seed,
            precision=cpu_precision(),
            **{**TUNE, "steps": job.plan.steps, "batch_size": job.plan.batch},
        )
        summary = tune(config)
        result = {"table": arm.table, "row": arm.row, "what": arm.what, "seed": job.seed}
        result |= {"samples": summary.trained, "loss": [summary.first_loss, summary.last_loss]}
    result["figures"] = measure(model, world, root / "evaluation" / job.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(str(path), json.dumps(result))
    if job.arm is not None:
        shutil.rmtree(root / "features" / job.name, ignore_errors=True)
        if not job.keep:
            shutil.rmtree(model)
    return result


def measure(model: Path, world: World, out: Path) -> dict[str, dict[str, Any]]:
    """The figures of the held-out tasks and of the comparisons, each as JSON data."""
    held_out, plan = world.material.held_out, world.plan
    chat = LocalModel(str(model), device="cpu", batch_size=32)
    measured = measure_model(chat, held_out, out, questions=plan.questions, compared=plan.compared)
    figures = {**measured.figures, **comparison_scores(measured, held_out, plan.compared)}
    figures |= {f"says A: {task}": figure for task, figure in measured.says_a.items()}
    figures |= {f"either order: {task}": figure for task, figure in measured.either_order.items()}
    figures |= {f"averaged: {task}": figure for task, figure in measured.averaged.items()}
    return {name: asdict(figure) for name, figure in figures.items()}
