"""Every step of a pipeline submitted to a Ray and to a Spark of several nodes, each of which loses one in the middle.

Run as: python -m benchmarks.cluster_jobs [ray] [spark] [--quick] [--folder DIR]

embed, index, retrieve, mine and export are submitted by `ray job submit` to a Ray whose head has no cores, and by
`spark-submit` to a standalone master, with the commands of docs/cluster.md. As soon as a step has written its first
file, a node or worker gets SIGKILL and another one joins. All files are compared with those of the same steps in local
processes. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    from benchmarks.cluster_jobs.clusters import Cluster

CLUSTERS = ("ray", "spark")
SCENES, SHARD = (2_400, 200), (240, 20)  # quick ones behind


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clusters", nargs="*", metavar="ray|spark", help="[default: both]")
    parser.add_argument("--quick", action="store_true", help=f"{SHARD[0]} scenes instead of {SCENES[0]:,}")
    parser.add_argument("--folder", type=Path, help="work here and keep everything")
    args = parser.parse_args()
    if unknown := set(args.clusters) - set(CLUSTERS):
        parser.error(f"unknown cluster {', '.join(sorted(unknown))}")
    from benchmarks.cluster_jobs.clusters import Local, RayCluster, SparkCluster

    scenes, shard = SHARD if args.quick else SCENES
    print(f"{platform.machine()}, {os.cpu_count()} cores; {scenes:,} scenes in tars of {shard}", flush=True)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).absolute()
        make_corpus(folder, scenes, shard)
        expected = run_steps(folder, "local", Local())
        for name in args.clusters or CLUSTERS:
            made: AbstractContextManager[Cluster] = RayCluster(folder) if name == "ray" else SparkCluster(folder)
            with made as cluster:
                found = run_steps(folder, name, cluster)
            for step, own in found.items():
                differ = sorted(
                    file
                    for file in own["files"].keys() | expected[step]["files"].keys()
                    if own["files"].get(file) != expected[step]["files"].get(file)
                )
                figures[f"{name}, {step}, files that differ"] = len(differ)
                state = "identical" if not differ else f"DIFFER: {', '.join(differ[:5])}"
                print(
                    f"{name}, {step}: {own['seconds']:.0f} s, {own['kill']}; {len(own['files'])} files {state}",
                    flush=True,
                )
    holds = not any(figures.values())
    print(
        json.dumps({"name": "cluster_jobs", "figures": figures, "targets": dict.fromkeys(figures, 0), "holds": holds})
    )
    return 0 if holds else 1


def make_corpus(folder: Path, scenes: int, shard: int) -> None:
    """Draw the corpus, and a list of concepts."""
    from scenes.tars import write_split

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "corpus").exists():
        write_split("corpus", folder / "corpus.partial", scenes, shard_size=shard, progress=lambda _: None)
        (folder / "corpus.partial").rename(folder / "corpus")
    names = [
        f"{color} {thing}" for color in ("red", "blue", "green", "yellow") for thing in ("circle", "square", "star")
    ]
    (folder / "concepts.txt").write_text("\n".join(names) + "\n")


def run_steps(folder: Path, name: str, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Run all steps in `folder`/work, kept as `folder`/name: each one's time, kill, and checksums of its files."""
    from benchmarks.cluster_jobs.steps import checksums, steps

    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    found: dict[str, dict[str, Any]] = {}
    for step in steps(folder, work, cluster.executor):
        started = time.monotonic()
        kill = cluster.run(step)
        found[step.name] = {"seconds": time.monotonic() - started, "kill": kill, "files": checksums(step.out)}
        print(f"  {name}: {step.name} has ended", file=sys.stderr, flush=True)
    shutil.rmtree(folder / name, ignore_errors=True)
    work.rename(folder / name)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
