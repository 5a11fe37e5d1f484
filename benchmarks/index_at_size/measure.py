"""What is measured of stores that are large: equal builds, searches in little memory, and growth of time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_at_size.builds import Builds, kill_driver, ray_cluster
from benchmarks.index_at_size.limited_group import LimitedGroup, forget_pages
from benchmarks.index_at_size.store import write_store
from benchmarks.index_peers.__main__ import qps_at
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.exact import exact_top_k
from index.graph.recall import recall_at, sample_queries
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore

__all__ = ["equal_builds", "growth", "memory"]

_EFS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def equal_builds(folder: Path, rows: int, dim: int, recipe: list[str], *, captions: bool) -> dict[str, Any]:
    """Build on Spark and on Ray, with and without kills, and compare all files; figures by name.

    Builds that `folder` has from a run that was ended are not made again.
    """
    store, done = folder / "store", folder / "builds.json"
    builds = Builds(store, ["--modality", "image", "--shard-rows", str(rows // 8), "--queries", "200", *recipe])
    if not builds.kept.exists():
        write_store(store, rows // 10, dim, texts=captions, part_rows=rows // 10)
        print(f"old index of {rows // 10:,} rows: {builds.begin():,.0f} s", flush=True)
        write_store(store, rows, dim, texts=captions, part_rows=rows // 10)
    found: dict[str, Any] = json.loads(done.read_text()) if done.exists() else {}

    def build(name: str, executor: str, environment: dict[str, str], kill: Any = None) -> None:
        if name not in found:
            found[name] = builds.build(executor, environment, kill)
            done.write_text(json.dumps(found))
        report(name, found[name], found["spark"])

    build("spark", "spark", {})
    with ray_cluster() as (environment, kill_node):
        for name, kill in (("ray, a node killed", kill_node), ("ray, driver killed", kill_driver), ("ray", None)):
            build(name, "ray", environment, kill)
    return {
        "rows": rows,
        "files": len(found["spark"]["files"]),
        "builds": len(found),
        "identical": sum(each["files"] == found["spark"]["files"] for each in found.values()),
        "answers of the old index": sum(each["of old"] for each in found.values()),
        "wrong answers": sum(each["wrong"] + len(each["errors"]) for each in found.values()),
        **{f"seconds, {name}": round(each["seconds"]) for name, each in found.items()},
    }


def report(name: str, build: dict[str, Any], expected: dict[str, Any]) -> None:
    """Print a line on one build."""
    killed = f"{build['shards at the kill']} shards at the kill, " if "shards at the kill" in build else ""
    answers = f"{build['asked']} questions, {build['of old']} answers of the old index, {build['wrong']} wrong"
    print(
        f"{name}: {build['seconds']:,.0f} s, {killed}{build['runs']} runs, "
        f"{'identical' if build['files'] == expected['files'] else 'DIFFERS'}; "
        f"{answers}, {len(build['errors'])} errors {build['errors'][:1]}",
        flush=True,
    )


def memory(
    folder: Path, rows: int, dim: int, recipe: list[str], limit_s: float, group: LimitedGroup | None
) -> dict[str, Any]:
    """Search and scan, each in a process whose memory is sampled. The build is run again while `limit_s` ends it.

    A store that is there is used, so that a large one can be built in several runs. group: the kernel ends a search
    that needs more memory than the group's limit, pages of files that it cannot take back included.
    """
    store = folder / "store"
    if not (store / "manifest.json").exists():
        write_store(store, rows, dim, texts=False)
        print("store written", flush=True)
    started = time.monotonic()
    if not (store / "index" / "image" / "index.json").exists():
        command = [sys.executable, "-m", "jobs.cli", "index", str(store), "--modality", "image", *recipe]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=limit_s)
    figures: dict[str, Any] = {"rows": rows, "dim": dim, "build, s": round(time.monotonic() - started)}
    answers = {}
    for what in ("search", "scan"):
        out = folder / f"{what}.npz"
        command = [sys.executable, "-m", "benchmarks.index_at_size.one_search", str(store), what, str(out)]
        if group is not None:
            forget_pages(store)
            command = group.command(command)
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        if group is not None:
            figures[f"{what}, most memory of its group, GB"] = round(group.peak() / 1e9, 3)
        figures[f"{what}, s"] = round(done["seconds"], 2)
        figures[f"{what}, processor s"] = round(done["processor seconds"], 2)
        figures[f"{what}, anonymous GB"] = round(done["RssAnon"] / 1e6, 3)
        figures[f"{what}, mapped files resident GB"] = round(done["RssFile"] / 1e6, 3)
        with np.load(out, allow_pickle=False) as arrays:
            answers[what] = arrays["scores"]
    figures["recall@10"] = round(recall_at(answers["scan"], answers["search"], 10), 4)
    opened = EmbeddingStore.open(store)
    figures["store GB"] = round(sum(part.files["image"].size for part in opened.parts) / 1e9, 2)
    index = store / "index" / "image"
    figures["index GB"] = round(sum(file.stat().st_size for file in index.iterdir()) / 1e9, 2)
    return figures


def growth(folder: Path, sizes: list[int], dim: int, recipe: dict[str, Any]) -> dict[str, Any]:
    """Processor time of one graph's build, and QPS at equal recall@10, of stores of several sizes; with exponents."""
    figures: dict[str, Any] = {}
    curve = []
    for rows in sizes:
        path = folder / f"store_{rows}"
        write_store(path, rows, dim)
        config = IndexConfig(str(path), "image", shard_rows=rows, **recipe)
        started = time.process_time()
        for item in plan_index_items(config):
            build_index_item(item, config)
        build = time.process_time() - started
        finish_index(config)
        store = EmbeddingStore.open(path)
        _, queries = sample_queries(store, "text", 1_000, 1, step=2)
        truth, _ = exact_top_k(store.blocks("image"), queries, 10)
        index = open_index(store, "image")
        points = []
        for ef in _EFS:
            begun = time.process_time()
            scores, _ = index.search(queries, 10, ef)
            points.append((recall_at(truth, scores, 10), len(queries) / (time.process_time() - begun)))
            if points[-1][0] > 0.99:
                break
        qps = qps_at(points, 0.95)
        curve.append((rows, build, qps))
        print(f"{rows:>10,} rows: build {build:,.1f} s, {qps:,.0f} QPS at recall@10 0.95", flush=True)
        figures[f"build, s, {rows}"], figures[f"QPS, {rows}"] = round(build, 1), round(qps)
    logs = np.log(np.array(curve))
    figures["exponent of the build"] = round(float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), 3)
    figures["exponent of QPS"] = round(float(np.polyfit(logs[:, 0], logs[:, 2], 1)[0]), 3)
    return figures
