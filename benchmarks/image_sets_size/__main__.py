"""A million pairs with an annotation of 300 words each: the memory and time of opening, indexing and reading them.

Run as: python -m benchmarks.image_sets_size [--quick] [--sets N] [--folder DIR]

Times are CPU seconds of one process. The pairs are of files and need no store. Memory is the most that the process held
above what it held before it opened the folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# Of a million sets; fewer take less.
TARGETS = {"index MB": 400.0, "index seconds": 10.0, "one annotated set ms": 5.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 pairs")
    parser.add_argument("--sets", type=int, help="default: 1,000,000")
    parser.add_argument("--folder", help="where to write; default: a temporary folder")
    args = parser.parse_args()
    from benchmarks.image_sets_size.measure import WORDS, read, timed, write  # after --help, which needs no Arrow

    count = args.sets or (100_000 if args.quick else 1_000_000)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {count:,} pairs, {WORDS} words each")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        _, seconds = timed(lambda: write(count, folder))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        print(f"written in {seconds:.0f} s, {size / 1e6:,.0f} MB")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:  # without the writer's memory
            figures = process.submit(read, folder, count).result()
    holds = all(figures[name] <= limit for name, limit in TARGETS.items())
    print(json.dumps({"name": "image_sets_size", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
