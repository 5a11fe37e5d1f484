"""Near-duplicate groups of a whole store by its index, beside the clusters of `mine` and the pivots of `retrieve`.

Run as: python -m benchmarks.duplicates_size [--quick] [--dim D] [--sizes N,N,...]

One row in ten is a near-copy of another, at cosines spread evenly from 0.94 to 1. For each size: processor time of the
groups' search by the index, of the two ways that need no index, and of comparing all pairs; the share of the pairs of
all rows (of up to 10,000 of them) that are in one group; exponents over the sizes. Times depend on what the caches hold
and on other programs, so the comparisons of vectors that the index makes are counted too. The build of the index, which
searches use too, is given apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SIZES, QUICK = (10_000, 20_000, 50_000, 100_000), (5_000, 10_000, 20_000)
LIMIT = 0.94
TARGETS = {"exponent, comparisons": 1.25, "pairs found": 0.98}
AT_MOST = ("exponent, comparisons",)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 20,000 rows")
    parser.add_argument("--sizes", help="numbers of rows  [default: 10,000 to 100,000]")
    parser.add_argument("--dim", type=int, default=64, help="[default: 64]")
    args = parser.parse_args()
    import numpy as np

    sizes = [int(size) for size in args.sizes.split(",")] if args.sizes else (QUICK if args.quick else SIZES)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {args.dim} dimensions", flush=True)
    figures: dict[str, float] = {}
    found, compared = 1.0, []
    seconds: dict[str, list[float]] = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            times, share, comparisons = measure(Path(folder) / "store", rows, args.dim)
        compared.append(comparisons)
        figures[f"comparisons a row, {rows}"] = round(comparisons / rows, 1)
        found = min(found, share)
        for name, took in times.items():
            figures[f"s, {name}, {rows}"] = round(took, 2)
            seconds.setdefault(name, []).append(took)
        figures[f"pairs found, {rows}"] = round(share, 4)
        line = ", ".join(f"{name} {took:.2f} s" for name, took in times.items())
        print(f"{rows:>9,}: {line}; {comparisons / rows:.0f} comparisons a row, {share:.4f} found", flush=True)
    for name, curve in seconds.items():
        figures[f"exponent, {name}"] = round(float(np.polyfit(np.log(sizes), np.log(curve), 1)[0]), 3)
    figures["exponent, comparisons"] = round(float(np.polyfit(np.log(sizes), np.log(compared), 1)[0]), 3)
    figures["pairs found"] = round(found, 4)
    holds = all(figures[name] <= to if name in AT_MOST else figures[name] >= to for name, to in TARGETS.items())
    print(json.dumps({"name": "duplicates_size", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0 if holds else 1


def measure(path: Path, rows: int, dim: int) -> tuple[dict[str, float], float, int]:
    """Processor time by name, the share of the pairs whose rows are in one group, and comparisons by the index."""
    import faiss
    import numpy as np

    import index.duplicates.row_pairs
    import index.duplicates.segments
    from benchmarks.index_at_size.store import write_store
    from index.duplicates.near_duplicates import near_duplicate_groups, near_duplicate_pairs
    from index.duplicates.segments import DuplicatesConfig, finish_groups, search_segment, undone_segments
    from index.duplicates.stored_groups import open_groups
    from index.graph.build import IndexConfig, build_index_item, plan_index_items
    from index.graph.build import finish_index as finish
    from index.store.embedding_store import EmbeddingStore
    from retrieval.search.duplicates import near_duplicates

    for module in (index.duplicates.segments, index.duplicates.row_pairs):
        module.ALL_PAIRS = 1_000  # type: ignore[attr-defined]  # so that small stores use the index too
    write_store(path, rows, dim, texts=False, copies=0.1, part_rows=min(rows, 100_000))
    store = EmbeddingStore.open(path)
    every = np.arange(rows)
    vectors = store.gather("image", every)
    built, config = IndexConfig(str(path), codec="fp16"), DuplicatesConfig(str(path), LIMIT)

    def build() -> None:
        for item in plan_index_items(built):
            build_index_item(item, built)
        finish(built)

    def search() -> None:
        faiss.cvar.hnsw_stats.reset()
        for item in undone_segments(config):
            search_segment(item, config)
        finish_groups(config)

    times = {"build of the index": timed(build), "index": timed(search)}
    comparisons = int(faiss.cvar.hnsw_stats.ndis)
    times |= {
        "clusters": timed(lambda: near_duplicate_groups(vectors, LIMIT, exact=0)),
        "pivots": timed(lambda: near_duplicates(every, lambda some: vectors[some], LIMIT, exact_rows=0)),
    }
    if rows <= 100_000:
        times["all pairs"] = timed(lambda: near_duplicate_groups(vectors, LIMIT, exact=rows))
    groups = open_groups(store)
    assert groups is not None
    column = groups.of(every)
    # Pairs of a part of the rows; the last rows of a part are as others.
    some = vectors[:10_000]
    pairs = np.concatenate(
        [np.stack([one, other], axis=1) for one, other in near_duplicate_pairs(some, LIMIT, exact=len(some))]
    )
    return times, float((column[pairs[:, 0]] == column[pairs[:, 1]]).mean()), comparisons


def timed(call: Callable[[], object]) -> float:
    """Processor time that a call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    raise SystemExit(main())
