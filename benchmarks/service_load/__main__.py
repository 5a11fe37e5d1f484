"""The service on Ray under load while shards are killed: every answer must be right or name the missing shards.

Run as: python -m benchmarks.service_load [--quick] [--minutes 15]

`clipmine serve` runs on Ray with two groups of shards. The number of clients is raised until more clients give no more
requests/s: the knee of the latency curve. With that number the service is then loaded for --minutes, and every minute
(--quick: every 15 s) the process of a shard replica gets SIGKILL, the groups in turn. Of eight requests, six send a
vector for a search in the graphs, one sends a vector for an exact scan, and one sends a text.

Every answer is compared with the one that `expected.py` computed beforehand. Allowed statuses are 200, and 429 and 503
with Retry-After. The memory of the front process may not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from pathlib import Path

MOST_GROWTH = 0.1  # share by which the front's memory may grow between the ramp and the end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute of load, a kill every 15 s, a shorter ramp")
    parser.add_argument("--minutes", type=float, help="minutes of load at the knee (default: 15)")
    parser.add_argument("--every", type=float, help="seconds between kills (default: 60)")
    parser.add_argument("--replicas", type=int, default=1, help="replicas of each group of shards")
    parser.add_argument("--start-seconds", type=float, default=300, help="longest wait for the service to start")
    args = parser.parse_args()
    from benchmarks.service_load.expected import GROUPS, ROWS, indexed_store, make_questions
    from benchmarks.service_load.load import find_knee, load_and_kill, summary
    from benchmarks.service_load.service import pids, resident_mb, running, whole_again
    from jobs.serve_ray.groups import plan_groups

    minutes = args.minutes or (1 if args.quick else 15)
    every, step = (args.every or 15.0, 4.0) if args.quick else (args.every or 60.0, 15.0)
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores; {ROWS:,} x 512 in {GROUPS} groups of shards x {args.replicas}")
    with tempfile.TemporaryDirectory() as folder:
        store = indexed_store(Path(folder))
        questions = make_questions(store, plan_groups(store, GROUPS))
        with running(store, args.replicas, args.start_seconds) as (url, service):
            knee = find_knee(url, questions, step)
            front = pids(service, "front")[0]
            before = resident_mb(front)
            print(f"\n{knee} clients for {minutes:g} minutes, a kill every {every:g} s")
            seen, kills = asyncio.run(load_and_kill(url, questions, knee, minutes * 60, every, service, args.replicas))
            whole = whole_again(url, questions[0])
            alive = front in pids(service, "front")
            after = resident_mb(front) if alive else float("inf")
    figures = summary(seen, knee, minutes) | kills | {"seconds_until_whole": whole}
    figures |= {"front_mb_before": round(before), "front_mb_after": round(after), "front_growth": after / before - 1}
    targets = {
        "wrong": 0,
        "statuses_not_allowed": 0,
        "replaced": kills["kills"],
        "front_growth": MOST_GROWTH,
    }
    holds = (
        figures["wrong"] == 0
        and figures["statuses_not_allowed"] == 0
        and kills["replaced"] == kills["kills"] > 0
        and figures["front_growth"] <= MOST_GROWTH
        and figures["answered"] > figures["partial"]
        and whole is not None
    )
    for name, figure in figures.items():
        print(f"{name:24} {figure:,.3f}" if isinstance(figure, float) else f"{name:24} {figure}")
    for line in seen.wrong[:10]:
        print(f"wrong: {line}")
    figures["front_growth"] = round(figures["front_growth"], 3)
    print(json.dumps({"name": "service_load", "figures": figures, "targets": targets, "holds": holds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
