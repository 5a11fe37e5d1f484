"""REACT's ablations on the scenes world: do the thesis's directions (tables 2.1, 2.2, 2.6) hold for the demo CLIP?

Run as: python benchmarks/react_ablation.py [--quick | --full] [--work DIR] [--store STORE]

Classification: types alone in pictures of the test split, which no corpus shares; retrieval: test scenes and their
captions. Every arm trains on tars of pairs from one store, so that arms differ in what they name alone:

    strategy   every row of table 2.6, for classification (concepts as queries, gamma 0.9) and for retrieval (captions
               of other scenes as queries, which are never trained on; plain CLIP loss)
    mode       T2T, T2I, both           size       shares of the retrieved pairs
    gamma      0.9, 1, none             source     retrieved, random, and retrieved from what the model was trained on
    shots      linear probes of the model before and after

The last line is JSON. With --work, finished arms are kept, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from react_ablation_arms import Arm, Plan, arms_of
from react_ablation_claims import check_claims
from react_ablation_world import World

from customize.config import CustomizeConfig
from customize.evaluate.datasets import open_dataset
from customize.evaluate.features import EvalModel, image_features
from customize.evaluate.intervals import over_seeds
from customize.evaluate.linear_probe import TrainPlan, linear_probe
from customize.evaluate.retrieval_recall import retrieval_recall
from customize.evaluate.settings_search import QUICK_SEARCH
from customize.evaluate.tables import Table, write_tables
from customize.evaluate.task_files import load_task, open_split
from customize.evaluate.zero_shot import zero_shot
from customize.train import train
from index.errors import ClipmineError
from index.files import write_atomic
from index.model_spec import ModelSpec

MODEL = Path(__file__).resolve().parent.parent / "examples" / "scenes" / "model"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three arms, one seed, few steps: about a minute")
    parser.add_argument(
        "--full", action="store_true", help="more seeds, steps and points, and few-shot after every arm"
    )
    parser.add_argument("--work", help="a folder to keep what is made in, so that a stopped run goes on")
    parser.add_argument("--store", help="a store of the scenes' corpus that is there already (the demo's)")
    parser.add_argument("--only", nargs="*", help="axes to run: strategy mode size gamma source shots")
    args = parser.parse_args()
    plan = Plan.quick() if args.quick else Plan.full() if args.full else Plan.default()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(args.work or folder)
        world = World(work, plan, args.store)
        arms = [arm for arm in arms_of(plan) if not args.only or arm.axis in args.only]
        print(
            f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {len(arms)} trainings of {plan.steps} steps"
        )
        results = [measure_base(world)]
        for number, arm in enumerate(arms, start=1):
            results.append(run_arm(arm, world, plan))
            spent = time.monotonic() - started
            print(f"{number}/{len(arms)} {arm.name}: {_shown(results[-1])} ({spent:,.0f} s)", flush=True)
        tables = tables_of(results)
        for path in write_tables(tables, work / "tables") if args.work else []:
            print(path)
    for table in tables:
        print(f"\n{table.title}\n\n{table.markdown()}")
    claims = check_claims(results)
    for name, claim in claims.items():
        print(f"{'holds ' if claim['holds'] else 'differs'} {name}: {claim['said']}")
    figures: dict[str, Any] = {
        table.title: {row: _means(cells) for row, cells in table.rows.items()} for table in tables
    }
    figures["seconds"] = round(time.monotonic() - started, 1)
    targets = {name: claim["thesis"] for name, claim in claims.items()}
    holds = all(claim["holds"] for claim in claims.values())
    print(json.dumps({"name": "react_ablation", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def run_arm(arm: Arm, world: World, plan: Plan) -> dict[str, Any]:
    """Train an arm and measure it; a finished arm is read again. A model takes no room once it is measured."""
    path = world.root / "arms" / f"{arm.name}-{plan.name}.json"
    if path.exists():
        done: dict[str, Any] = json.loads(path.read_text())
        return done
    out = world.root / "models" / f"{arm.name}-{plan.name}"
    config = CustomizeConfig(
        out=str(out),
        tars=str(world.pairs(arm)),
        model=ModelSpec(model_dir=str(MODEL)),
        strategy=arm.strategy,
        gated_blocks=plan.gated_blocks if "gated" in arm.strategy else None,
        steps=plan.steps,
        batch=plan.batch,
        lr=plan.lr_gated if "gated" in arm.strategy else plan.lr,
        warmup=plan.steps // 10,
        gamma=arm.gamma,
        augment="none",
        seed=arm.seed,
        loaders=0,
        cache_prefix=False,  # arms share no images; what is kept for one would be used once
        save_every=10**9,
        device="cpu",
    )
    summary = train(config)
    result = {**arm.about(), "pairs": summary.pairs, "loss": [summary.first_loss, summary.last_loss]}
    result |= measure(_load(out), arm.task, world, plan, probes=arm.axis == "shots")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(result))
    import shutil

    shutil.rmtree(out)
    return result


def measure_base(world: World) -> dict[str, Any]:
    """The model before, for both tasks, with probes."""
    path = world.root / "arms" / f"base-{world.plan.name}.json"
    if not path.exists():
        model = _load(MODEL)
        result: dict[str, Any] = {"axis": "base", "task": "both", "value": "none", "seed": 0, "strategy": "none"}
        result |= measure(model, "classification", world, world.plan, probes=world.plan.shots != ())
        result |= measure(model, "retrieval", world, world.plan, probes=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(result))
    done: dict[str, Any] = json.loads(path.read_text())
    return done


def measure(model: EvalModel, task: str, world: World, plan: Plan, *, probes: bool) -> dict[str, Any]:
    """Accuracy by concept group, or recall at 1 both ways; linear probes for the arms about shots."""
    if task == "retrieval":
        found = retrieval_recall(model, open_dataset(world.tasks / "captions", split="test"))
        return {"T2I R@1": found.text_to_image[1], "I2T R@1": found.image_to_text[1]}
    types = load_task(world.tasks / "types.yaml")
    test = open_split(types, None, "test")
    features = image_features(model, iter(test))
    result = zero_shot(model, test, types.templates, features=features)
    figures: dict[str, Any] = {"accuracy": result.score, "groups": world.by_group(result.per_class)}
    if probes:
        learned = image_features(model, iter(open_split(types, None, "train")))
        settings = TrainPlan(search=QUICK_SEARCH, epochs=30)
        for shots in plan.shots:
            scores = [
                linear_probe(
                    model, learned, test, types.templates, shots=shots, seed=seed, plan=settings, test_features=features
                ).result.score
                for seed in range(plan.seeds)
            ]
            figures[f"probe {shots or 'full'}"] = sum(scores) / len(scores)
    return figures


def tables_of(results: list[dict[str, Any]]) -> list[Table]:
    """A table an axis: rows are its values, columns what was measured, cells over seeds; the model before on top."""
    base = results[0]
    tables = []
    for axis, task in dict.fromkeys((result["axis"], result["task"]) for result in results[1:]):
        own = [result for result in results[1:] if (result["axis"], result["task"]) == (axis, task)]
        columns = [name for name in own[0] if isinstance(own[0][name], float) and name in base]
        groups = sorted({name for result in own for name in result.get("groups", {})})
        rows = {"before": [base], **{value: [r for r in own if r["value"] == value] for value in _values(own)}}
        cells = {
            str(name): {
                **{column: over_seeds([run[column] for run in runs]) for column in columns},
                **{group: over_seeds([run["groups"][group] for run in runs]) for group in groups},
            }
            for name, runs in rows.items()
        }
        tables.append(Table(f"{axis}, {task}", (*columns, *groups), cells))
    return tables


def _values(results: list[dict[str, Any]]) -> list[Any]:
    return list(dict.fromkeys(result["value"] for result in results))


def _load(folder: Path) -> EvalModel:
    from customize.checkpoint_model import load_customized

    loaded = load_customized(str(folder), "cpu")
    return EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer)


def _means(cells: Any) -> dict[str, float]:
    return {name: round(cell.mean, 4) for name, cell in cells.items()}


def _shown(result: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {100 * value:.1f}"
        for name, value in result.items()
        if isinstance(value, float) and name not in ("share", "gamma")
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
