"""Does REACT's customizing make a better CLIP? A laboratory of drawn scenes in which its conditions hold.

Run as: python -m benchmarks.react_gain [--quick | --full] [--work DIR] [--only AXIS ...] [--model FOLDER]

The base was trained as CLIP was, on alt text alone (`scenes.training.train_web_clip`). A hundred domain concepts are
thin in that data and common in a pool of the same kind. Pairs are retrieved from the pool for the concepts' names, the
base is customized on them, and pictures that no split contains are classified among all 459 names of the catalog.
Differences are paired over pictures.

First comes the pilot: the true precision of what is retrieved, by mode and rule, and the base's loss on it beside the
floor that wrong captions set. If the pilot fails, the grid does not run, unless `--anyway` is given. Axes of the grid:

    pairs      retrieved, random, oracle (pairs that show and name a concept by the scenes' truth), named (captions that
               have the name, found as a string)
    strategy   the rows of table 2.6
    size       pairs a concept, at equal steps
    mode       T2T, T2I
    source     retrieved from the base's own pretraining data (F1), and from a smaller pool at equal size (F3)
    noise      (with --full) captions that were exchanged
    tuning     (only with --only tuning) trainings that the recipe is chosen from, on validation pictures

--quick is the pilot with a small pool and one short training of three arms. The last line is JSON. With --work,
finished arms are kept, and a run that was stopped continues.
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

from index.errors import ClipmineError

MODEL = Path(__file__).resolve().parents[2] / "scenes" / "models" / "web_clip"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the pilot and three short trainings: minutes")
    parser.add_argument("--full", action="store_true", help="a larger pool, more seeds and steps, noise")
    parser.add_argument("--pilot", action="store_true", help="the pilot alone, at the grid's size")
    parser.add_argument("--anyway", action="store_true", help="run the grid even if the pilot fails")
    parser.add_argument("--work", help="keep stores, pairs and results in this folder, so that a stopped run continues")
    parser.add_argument("--tars", help="folder of the drawn splits, such as the work folder of the base's training")
    parser.add_argument("--model", default=str(MODEL), help="the base (default: scenes/models/web_clip)")
    parser.add_argument("--only", nargs="*", help="axes to run: pairs strategy size mode source noise tuning")
    parser.add_argument("--seeds", type=int, help="seeds of each arm (default: the plan's)")
    parser.add_argument("--cores", type=int, help="processes (default: all cores)")
    args = parser.parse_args()
    from dataclasses import replace

    from benchmarks.react_gain.arms import BASE, Plan, arms_of, tuning_arms
    from benchmarks.react_gain.claims import check_predictions
    from benchmarks.react_gain.run_arm import Job, run_job
    from benchmarks.react_gain.tables import arms_table, precision_table, probes_table, shown, tuning_table
    from benchmarks.react_gain.world import World
    from benchmarks.worker_pool import run_each

    plan = Plan.pilot() if args.quick else Plan.full() if args.full else Plan.default()
    plan = replace(plan, seeds=args.seeds or plan.seeds)
    started = time.monotonic()
    cores = args.cores or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(args.work or folder)
        world = World(work, plan, Path(args.model), Path(args.tars) if args.tars else None, workers=cores)
        print(f"{platform.machine()}, {cores} cores; plan {plan}", flush=True)
        precision, loss, verdicts = _pilot(world)
        print(precision_table(precision), flush=True)
        print(f"\nloss of the base on the pairs: {loss}")
        for name, passed in verdicts.items():
            print(f"{'passed' if passed else 'FAILED':8} {name}")
        print(f"the pilot took {time.monotonic() - started:,.0f} s", flush=True)
        figures: dict[str, Any] = {"precision": precision, "loss": loss, "gate": verdicts}
        results: list[dict[str, Any]] = []
        if not args.pilot and (all(verdicts.values()) or args.anyway or args.quick):
            tuning = args.only == ["tuning"]
            arms = tuning_arms(plan) if tuning else [BASE, *arms_of(plan, args.only)]
            pictures = {kind: str(path) for kind, path in world.pictures.items()}
            jobs = [
                Job(
                    arm,
                    plan,
                    str(work),
                    args.model,
                    world.concepts,
                    pictures,
                    None if arm.strategy == "none" else world.pairs(arm),
                )
                for arm in arms
            ]
            print(f"{len(jobs)} arms; data is ready after {time.monotonic() - started:,.0f} s", flush=True)
            for number, result in enumerate(run_each(run_job, jobs, cores), 1):
                results.append(result)
                name = f"{result['axis']} {result['value']}, seed {result['seed']}"
                print(f"{number}/{len(jobs)} {name}: {shown(result)} ({time.monotonic() - started:,.0f} s)", flush=True)
            if tuning:
                print(f"\n{tuning_table(results)}")
                results = []
    predictions = check_predictions(results)
    if results:
        print(f"\n{arms_table(results)}\n\n{probes_table(results)}\n")
    for name, found in predictions.items():
        middle, low, high = found["difference"]
        print(f"{found['verdict']:8} {name}: {middle:+.1f} ({low:+.1f} to {high:+.1f}); the thesis: {found['thesis']}")
    figures["predictions"] = predictions
    figures["seconds"] = round(time.monotonic() - started, 1)
    holds = bool(predictions) and all(found["verdict"] == "holds" for found in predictions.values())
    targets = {name: found["thesis"] for name, found in predictions.items()}
    print(json.dumps({"name": "react_gain", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def _pilot(world: Any) -> tuple[Any, dict[str, float], dict[str, bool]]:
    """Precision by rule, the base's loss on the default arm's pairs, and whether the grid is worth its time."""
    from benchmarks.react_gain.arms import DEFAULT
    from benchmarks.react_gain.pilot import gate, loss_above_floor, precision_by_rule
    from customize.clip.model_folder import load_customized

    split = ("web_pool", world.plan.pool)
    precision = precision_by_rule(world)
    scale = float(load_customized(str(world.model), "cpu").model.logit_scale.detach().exp())
    loss = loss_above_floor(world.store(*split), world.rows(DEFAULT), scale, world.truth(*split))
    return precision, loss, gate(precision, loss, world.plan)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
