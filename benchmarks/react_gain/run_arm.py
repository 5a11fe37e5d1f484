"""Trains and measures one arm and keeps its figures; runs in a process with one thread."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.react_gain.arms import DEFAULT, TEMPLATES, Arm, Plan
from customize.clip.evaluate.datasets.open import open_dataset
from customize.clip.evaluate.features import EvalModel, image_features
from customize.clip.evaluate.hyperparameters import QUICK_SEARCH
from customize.clip.evaluate.linear_probe import TrainPlan, linear_probe
from customize.clip.evaluate.zero_shot import zero_shot
from customize.clip.model_folder import load_customized
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.files import write_atomic
from scenes.world.catalog import load_catalog
from scenes.world.splits import group_of

PROBE = TrainPlan(search=QUICK_SEARCH, epochs=30)

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """An arm with the files that it reads and writes."""

    arm: Arm
    plan: Plan
    root: str  # folder of models and results
    model: str  # folder of the base
    concepts: tuple[str, ...]
    pictures: Mapping[str, str]  # kind -> tar
    data: tuple[str, str] | None  # the store, and the tars of the arm's pairs; None: the model before training


def run_job(job: Job) -> Result:
    """Train and measure an arm, or read the result of a finished one. The model is deleted after it was measured."""
    arm, plan, root = job.arm, job.plan, Path(job.root)
    path = root / "arms" / f"{arm.name}-{plan.name}.json"
    if path.exists():
        done: Result = json.loads(path.read_text())
        return done
    result, started = arm.about(), time.monotonic()
    probes = (
        bool(plan.shots)
        and not arm.to_choose
        and (job.data is None or (arm.axis, arm.value) == (DEFAULT.axis, DEFAULT.value))
    )
    if job.data is None:
        result |= measure(_load(Path(job.model)), job, probes=probes)
    else:
        out = root / "models" / f"{arm.name}-{plan.name}"
        summary = train(config_of(arm, plan, out, Path(job.model), *job.data))
        # From the file, which also has the steps of an earlier process where the run was continued.
        records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        result |= {"pairs": summary.pairs, "loss": [summary.first_loss, summary.last_loss]}
        result |= {"alike": float(np.mean([step["alike"] for step in records])), "gates": records[-1]["gates"]}
        result |= {"train_seconds": round(time.monotonic() - started, 1)}
        result |= measure(_load(out), job, probes=probes)
        shutil.rmtree(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(str(path), json.dumps(result))
    return result


def config_of(arm: Arm, plan: Plan, out: Path, model: Path, store: str, tars: str) -> CustomizeConfig:
    """The recipe of an arm: all arms share it except for their axis and the learning rate of gated blocks."""
    gated, steps = "gated" in arm.strategy, arm.steps or plan.steps
    return CustomizeConfig(
        out=str(out),
        store=None if arm.noise else store,
        tars=tars,
        model=ModelSpec(model_dir=str(model)),
        strategy=arm.strategy,
        gated_blocks=plan.gated_blocks if gated else None,
        steps=steps,
        batch_size=plan.batch,
        lr=arm.lr or (plan.lr_gated if gated else plan.lr),
        lr_alpha=(arm.lr_alpha or plan.lr_alpha) if gated else None,
        lr_base=plan.lr if gated else None,
        warmup=steps // 10,
        gamma=arm.gamma,
        augment="none",
        precision="bf16",
        seed=arm.seed,
        hold_out=0,  # the pictures of the tests are held out; all pairs train
        loaders=0,
        save_every=10**9,
        device="cpu",
    )


def measure(model: EvalModel, job: Job, *, probes: bool) -> Result:
    """Accuracy among all names of the catalog, on pictures of the domain and of other types; each picture's outcome.

    probes: also linear probes of the image features, among the domain's names.
    """
    names = list(load_catalog().types)
    figures: Result = {}
    for kind in ("validation",) if job.arm.to_choose else ("test", "other"):
        pictures = open_dataset(job.pictures[kind], classes=names)
        features = image_features(model, iter(pictures))
        found = zero_shot(model, pictures, TEMPLATES, features=features, allow_empty=True)
        truth = [labels[0] for labels in found.labels]
        figures[kind] = found.score
        # One character a picture, so that arms can be compared on the same pictures.
        right = "".join("01"[bool(said == true)] for said, true in zip(found.predictions, truth, strict=True))
        figures[f"{kind}_right"] = right
        if kind == "other":
            figures["groups"] = by_group(found.per_class)
    if probes:
        figures |= probe(model, job)
    return figures


def probe(model: EvalModel, job: Job) -> Result:
    """Accuracy of linear probes on few and all pictures of each domain concept, the mean over the plan's seeds."""
    domain = list(job.concepts)
    test, shown = (open_dataset(job.pictures[kind], classes=domain) for kind in ("test", "shots"))
    features, learned = image_features(model, iter(test)), image_features(model, iter(shown))
    figures: Result = {}
    for shots in job.plan.shots:
        runs = [
            linear_probe(
                model, learned, test, TEMPLATES, shots=shots, seed=seed, plan=PROBE, test_features=features
            ).result
            for seed in range(job.plan.seeds)
        ]
        truth = np.array([labels[0] for labels in runs[0].labels])
        figures[f"probe {shots or 'full'}"] = float(np.mean([run.score for run in runs]))
        figures[f"probe {shots or 'full'}_right"] = (
            np.mean([run.predictions == truth for run in runs], axis=0).round(3).tolist()
        )
    return figures


def by_group(per_class: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Accuracy of the pictures of each concept group."""
    right: dict[str, list[int]] = {}
    for name, (hits, total) in per_class.items():
        counts = right.setdefault(group_of(name), [0, 0])
        counts[0] += hits
        counts[1] += total
    return {group: hits / total for group, (hits, total) in sorted(right.items()) if total}


def _load(folder: Path) -> EvalModel:
    loaded = load_customized(str(folder), "cpu")
    return EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer)
