"""REACT's ablations on drawn scenes: do the thesis's directions (tables 2.1, 2.2, 2.6) hold for the demo's CLIP?

Run as: python -m benchmarks.react_ablation [--quick | --full] [--work DIR] [--store STORE] [--only AXIS ...]

Classification is measured on single objects of the test split, of which no corpus has a scene; retrieval on test scenes
and their captions. Every arm trains on tars of pairs from one store, so arms differ only along their axis:

    strategy   every row of table 2.6, for classification (queries are concepts, gamma 0.9) and for retrieval (queries
               are captions of scenes that are not trained on, plain CLIP loss)
    mode       T2T, T2I, both
    size       shares of the retrieved pairs
    gamma      0.9, 1, none
    source     retrieved pairs, random pairs, and pairs retrieved from the model's own pre-training data
    free text, gamma 1     the strategies that train the text tower, where only equal texts count as one concept
    shots      (runs with strategy) linear probes of the model before and after the default arm
    learning rate          (only with --only) the rates that the recipe's two were chosen from, on validation images

The last line is JSON. With --work, finished arms are kept, and a run that was stopped continues.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few arms, one seed, few steps: about a minute")
    parser.add_argument("--full", action="store_true", help="more seeds, steps and points")
    parser.add_argument("--work", help="keep stores, pairs and results in this folder, so that a stopped run continues")
    parser.add_argument("--store", help="an existing store of the scenes' corpus (the demo's)")
    parser.add_argument("--only", nargs="*", help="axes to run: strategy mode size gamma source")
    args = parser.parse_args()
    from benchmarks.react_ablation.arms import BASE, Plan, arms_of
    from benchmarks.react_ablation.claims import check_claims
    from benchmarks.react_ablation.run_arm import Job, run_job
    from benchmarks.react_ablation.tables import means, shown, tables_of
    from benchmarks.react_ablation.world import World
    from benchmarks.worker_pool import run_each
    from customize.clip.evaluate.tables import write_tables

    plan = Plan.quick() if args.quick else Plan.full() if args.full else Plan.default()
    started = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(args.work or folder)
        world = World(work, plan, args.store)
        arms = [BASE, *arms_of(plan, args.only)]
        print(f"{platform.machine()}, {cores} cores; {len(arms) - 1} trainings of {plan.steps} steps", flush=True)
        jobs = [Job(arm, plan, str(work), str(world.tasks), None if arm is BASE else world.pairs(arm)) for arm in arms]
        print(f"data is ready after {time.monotonic() - started:,.0f} s", flush=True)
        results = []
        for number, result in enumerate(run_each(run_job, jobs, cores)):
            results.append(result)
            name = "-".join(str(result[part]) for part in ("task", "axis", "value", "seed"))
            print(f"{number}/{len(arms) - 1} {name}: {shown(result)} ({time.monotonic() - started:,.0f} s)", flush=True)
        tables = tables_of(results)
        if args.work:
            write_tables(tables, work / "tables")
    for table in tables:
        print(f"\n{table.title}\n\n{table.markdown()}")
    claims = check_claims(results)
    for name, claim in claims.items():
        print(f"{claim['verdict']:8} {name}: {claim['said']}; the thesis: {claim['thesis']}")
    figures: dict[str, Any] = {
        table.title: {row: means(cells) for row, cells in table.rows.items()} for table in tables
    }
    figures["seconds"] = round(time.monotonic() - started, 1)
    targets = {name: claim["thesis"] for name, claim in claims.items()}
    figures["verdicts"] = {name: claim["verdict"] for name, claim in claims.items()}
    holds = all(verdict == "holds" for verdict in figures["verdicts"].values())
    print(json.dumps({"name": "react_ablation", "figures": figures, "targets": targets, "holds": holds}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
