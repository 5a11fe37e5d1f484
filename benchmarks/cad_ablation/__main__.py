"""CaD-VI's ablations on drawn scenes: what teaches a small LLaVA to compare images?

Run as: python -m benchmarks.cad_ablation [--quick] [--work DIR [--keep-models]] [--only 7 5 6 strategy] [--seeds N]

    7          parts of the conversation: choice, commonalities, differences, and phase 2 (the paper's table 7)
    5          phase 2 on edited pairs: original notes, annotated from scratch, refined (table 5)
    6          phase 2 on alike frames: captions alone, annotated from scratch, with captions (table 6)
    strategy   which mining strategy teaches most, at equal counts

Every arm starts from the same model and trains for the same number of steps. Held-out scenes measure choices, true and
false statements, and the precision and recall of stated differences and commonalities by the scenes' truth. The last
line is JSON. With --work, finished arms are kept, and a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import ClipmineError

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    from benchmarks.cad_ablation.run_arm import Job, Result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of each arm, one seed: shows that it runs")
    parser.add_argument("--work", help="keep data, models and results in this folder, so that a stopped run continues")
    parser.add_argument("--keep-models", action="store_true", help="keep the tuned models, 90 MB each, in --work")
    parser.add_argument("--only", nargs="*", help="tables to run: 7 5 6 strategy")
    parser.add_argument("--seeds", type=int, help="tunings of each arm (default: 3)")
    args = parser.parse_args()
    if args.keep_models and not args.work:
        parser.error("--keep-models needs --work, the folder to keep them in")
    from benchmarks.cad_ablation.arms import COLUMNS, Plan, arms_of
    from benchmarks.cad_ablation.claims import check_claims
    from benchmarks.cad_ablation.run_arm import Job, run_job
    from benchmarks.cad_ablation.tables import by_axis, markdown, tables_of
    from benchmarks.cad_ablation.world import World
    from benchmarks.worker_pool import run_each

    plan = Plan.quick() if args.quick else Plan.default()
    if args.seeds:
        plan = dataclasses.replace(plan, seeds=args.seeds)
    started = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(args.work or folder)
        root.mkdir(parents=True, exist_ok=True)
        arms = arms_of(plan, args.only)
        print(f"{platform.machine()}, {cores} cores; {len(arms)} tunings of {plan.steps} steps", flush=True)
        World(root, plan).make()
        print(f"data is ready after {time.monotonic() - started:,.0f} s", flush=True)
        needed = {arm.after for arm, _ in arms}
        jobs = [Job(None, 0, plan, str(root))]
        for arm, seed in arms:
            keep = args.keep_models or (arm.table == "7" and arm.row in needed)
            jobs.append(Job(arm, seed, plan, str(root), keep=keep))
        results: list[Result] = []
        for some in _in_turn(jobs):
            for result in run_each(run_job, some, cores):
                results.append(result)
                name = f"{result['table']}-{result['row']}, seed {result['seed']}"
                shown = ", ".join(
                    f"{title} {100 * value:.1f}"
                    for key, title in COLUMNS.items()
                    if (value := (result["figures"].get(key) or {}).get("value")) is not None
                )
                print(f"{len(results)}/{len(jobs)} {name}: {shown} ({time.monotonic() - started:,.0f} s)", flush=True)
    tables = tables_of(results)
    for table, rows in tables.items():
        print(f"\n{markdown(table, rows)}")
    for kind in ("differences", "commonalities"):
        print(f"\n{by_axis(results, kind)}")
    claims = check_claims(tables)
    print()
    for name, claim in claims.items():
        print(f"{claim['verdict']:8} {name}: {claim['said']}")
    figures = {
        table: {row: {key: round(cell.mean, 4) for key, cell in cells.items()} for row, (_, cells) in rows.items()}
        for table, rows in tables.items()
    }
    verdicts = {name: claim["verdict"] for name, claim in claims.items()}
    holds = all(verdict == "holds" for verdict in verdicts.values())
    about = {**figures, "verdicts": verdicts, "seconds": round(time.monotonic() - started, 1)}
    targets = {name: claim["expected"] for name, claim in claims.items()}
    print(json.dumps({"name": "cad_ablation", "figures": about, "targets": targets, "holds": holds}))
    return 0


def _in_turn(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs seed by seed, and of a seed those last whose data a tuned model annotates."""
    found: dict[tuple[int, bool], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.seed, job.arm is not None and job.arm.after is not None), []).append(job)
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
