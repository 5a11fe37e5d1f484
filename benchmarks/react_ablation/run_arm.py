"""Trains and measures one arm of the ablation and keeps its figures; runs in a process with one thread."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.react_ablation.arms import BEST, Arm, Plan
from customize.clip.evaluate.datasets.open import open_dataset
from customize.clip.evaluate.features import EvalModel, image_features
from customize.clip.evaluate.hyperparameters import QUICK_SEARCH
from customize.clip.evaluate.linear_probe import TrainPlan, linear_probe
from customize.clip.evaluate.retrieval_recall import retrieval_recall
from customize.clip.evaluate.task_files import load_task, open_split
from customize.clip.evaluate.zero_shot import zero_shot
from customize.clip.model_folder import load_customized
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.files import write_atomic
from scenes.world.splits import group_of

MODEL = Path(__file__).resolve().parents[2] / "scenes" / "models" / "clip"
PROBE = TrainPlan(search=QUICK_SEARCH, epochs=30)

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """An arm with the folders that it reads and writes."""

    arm: Arm
    plan: Plan
    root: str  # folder of models and results
    tasks: str  # folder of the held-out tasks
    data: tuple[str, str] | None  # the store, and the tars of the arm's pairs; None: the model before training


def run_job(job: Job) -> Result:
    """Train and measure an arm, or read the result of a finished one. The model is deleted after it was measured."""
    arm, plan, root = job.arm, job.plan, Path(job.root)
    path = root / "arms" / f"{arm.name}-{plan.name}.json"
    if path.exists():
        done: Result = json.loads(path.read_text())
        return done
    result: Result = arm.about()
    if job.data is None:
        model = _load(MODEL)
        result |= measure(model, "classification", job, probes=bool(plan.shots))
        result |= measure(model, "retrieval", job, probes=False) if plan.retrieval else {}
    else:
        is_default = (arm.axis, arm.task, arm.strategy) == ("strategy", "classification", BEST)
        out = root / "models" / f"{arm.name}-{plan.name}"
        summary = train(config_of(arm, plan, out, *job.data))
        result |= {"pairs": summary.pairs, "loss": [summary.first_loss, summary.last_loss]}
        result |= measure(_load(out), arm.task, job, probes=bool(plan.shots) and is_default)
        shutil.rmtree(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(str(path), json.dumps(result))
    return result


def config_of(arm: Arm, plan: Plan, out: Path, store: str, tars: str) -> CustomizeConfig:
    """The recipe of an arm: all arms share it except for their axis and the learning rate of gated blocks."""
    gated = "gated" in arm.strategy
    return CustomizeConfig(
        out=str(out),
        store=store,
        tars=tars,
        model=ModelSpec(model_dir=str(MODEL)),
        strategy=arm.strategy,
        gated_blocks=plan.gated_blocks if gated else None,
        steps=plan.steps,
        batch_size=plan.batch,
        lr=arm.lr or (plan.lr_gated if gated else plan.lr),
        warmup=plan.steps // 10,
        gamma=arm.gamma,
        augment="none",
        seed=arm.seed,
        loaders=0,
        cache_prefix=False,  # most images are seen once only
        save_every=10**9,
        device="cpu",
    )


def measure(model: EvalModel, task: str, job: Job, *, probes: bool) -> Result:
    """Accuracy, also by concept group, or recall@1 both ways. probes: also linear probes of the image features."""
    tasks, plan = Path(job.tasks), job.plan
    if task == "retrieval":
        found = retrieval_recall(model, open_dataset(tasks / "captions", split="test"))
        return {"T2I R@1": found.text_to_image[1], "I2T R@1": found.image_to_text[1]}
    types = load_task(tasks / "types.yaml")
    test = open_split(types, None, "train" if job.arm.axis == "learning rate" else "test")
    features = image_features(model, iter(test))
    result = zero_shot(model, test, types.templates, features=features)
    truth = [labels[0] for labels in result.labels]
    figures: Result = {"accuracy": result.score, "groups": by_group(result.per_class)}
    # One character an image, so that arms can be compared on the same images.
    figures["right"] = "".join("01"[bool(said == true)] for said, true in zip(result.predictions, truth, strict=True))
    if not probes:
        return figures
    learned = image_features(model, iter(open_split(types, None, "train")))
    for shots in plan.shots:
        scores = [
            linear_probe(
                model, learned, test, types.templates, shots=shots, seed=seed, plan=PROBE, test_features=features
            ).result.score
            for seed in range(plan.seeds)
        ]
        figures[f"probe {shots or 'full'}"] = sum(scores) / len(scores)
    return figures


def by_group(per_class: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Accuracy of each concept group; the corpus shows rare and made-up concepts, but no absent ones."""
    right: dict[str, list[int]] = {}
    for name, (hits, total) in per_class.items():
        counts = right.setdefault(group_of(name), [0, 0])
        counts[0] += hits
        counts[1] += total
    return {group: hits / total for group, (hits, total) in sorted(right.items())}


def _load(folder: Path) -> EvalModel:
    loaded = load_customized(str(folder), "cpu")
    return EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer)
