"""REACT's ablations on the scenes world: do the thesis's directions (tables 2.1, 2.2, 2.6) hold for the demo CLIP?

Run as: python benchmarks/react_ablation.py [--quick | --full] [--work DIR] [--store STORE] [--only AXIS ...]

Classification: types alone in pictures of the test split, which no corpus shares; retrieval: test scenes and their
captions. Every arm trains on tars of pairs from one store, so that arms differ in what they name alone:

    strategy   every row of table 2.6, for classification (concepts as queries, gamma 0.9) and for retrieval (captions
               of other scenes as queries, which are never trained on; plain CLIP loss)
    mode       T2T, T2I, both           size       shares of the retrieved pairs
    gamma      0.9, 1, none             source     retrieved, random, and retrieved from what the model was trained on
    free text, gamma 1     the strategies that train the text tower, with equal texts alone as one
    shots      (with strategy) linear probes of the model before and after the default arm
    learning rate   (only when asked for) what the recipe's two rates were chosen from, on validation pictures

The last line is JSON. With --work, finished arms are kept, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from react_ablation_arms import BASE, Arm, Plan, arms_of
from react_ablation_claims import check_claims
from react_ablation_run import Job, Result, one_thread, run_job
from react_ablation_world import World

from customize.clip.evaluate.intervals import over_seeds
from customize.clip.evaluate.tables import Table, write_tables
from index.errors import ClipmineError

NOT_MEASURED = ("share", "gamma", "lr")  # numbers that say what an arm is


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few arms, one seed, few steps: about a minute")
    parser.add_argument("--full", action="store_true", help="more seeds, steps and points")
    parser.add_argument("--work", help="a folder to keep what is made in, so that a stopped run goes on")
    parser.add_argument("--store", help="a store of the scenes' corpus that is there already (the demo's)")
    parser.add_argument("--only", nargs="*", help="axes to run: strategy mode size gamma source")
    args = parser.parse_args()
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
        for number, result in enumerate(run_jobs(jobs, cores)):
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


def run_jobs(jobs: Sequence[Job], cores: int) -> Iterator[Result]:
    """A process a core, each of one thread; results as they come."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=one_thread) as pool:
        for done in as_completed([pool.submit(run_job, job) for job in jobs]):
            yield done.result()


def tables_of(results: list[Result]) -> list[Table]:
    """A table an axis and task: rows are its values, cells over seeds; the model before on top, the default last.

    Every axis varies what `strategy` has at its default, so that arm stands in each axis's table.
    """
    base = [result for result in results if result["axis"] == "base"]
    groups = sorted({name for result in base for name in result["groups"]})
    tables = []
    for axis, task in dict.fromkeys((result["axis"], result["task"]) for result in results if result not in base):
        own = sorted((r for r in results if (r["axis"], r["task"]) == (axis, task)), key=lambda r: r["seed"])
        rows = {} if axis == "learning rate" else {"before": base}  # which was measured on other pictures
        rows |= {value: [r for r in own if r["value"] == value] for value in dict.fromkeys(r["value"] for r in own)}
        if axis in ("mode", "size", "gamma", "source"):
            default = [r for r in results if (r["axis"], r["task"], r["strategy"]) == ("strategy", task, Arm.strategy)]
            rows |= {"default (both, all, 0.9, retrieved)": default} if default else {}
        columns = [name for name in own[0] if isinstance(own[0][name], float) and name in base[0]]
        columns = [name for name in columns if name not in NOT_MEASURED and "probe" not in name]
        shown_groups = groups if "groups" in own[0] else []
        cells = {
            str(name): {
                **{column: over_seeds([run[column] for run in runs]) for column in columns},
                **{group: over_seeds([run["groups"][group] for run in runs]) for group in shown_groups},
            }
            for name, runs in rows.items()
        }
        tables.append(Table(f"{axis}, {task}", (*columns, *shown_groups), cells))
    probed = {"before": base, "after": [r for r in results if "probe full" in r and r not in base]}
    probes = [name for name in base[0] if "probe" in name]
    if probed["after"]:
        cells = {
            name: {probe: over_seeds([r[probe] for r in runs]) for probe in probes} for name, runs in probed.items()
        }
        tables.append(Table("few shots, classification", tuple(probes), cells))
    return tables


def means(cells: Any) -> dict[str, float]:
    return {name: round(cell.mean, 4) for name, cell in cells.items()}


def shown(result: Result) -> str:
    return ", ".join(
        f"{name} {100 * value:.1f}"
        for name, value in result.items()
        if isinstance(value, float) and name not in NOT_MEASURED
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
