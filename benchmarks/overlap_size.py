"""`clipmine mine --strategy overlap` at CaD-VI's size: 278,000 sets from 873,000 captions of 36 words.

Run as: python -m benchmarks.overlap_size [--quick] [--captions FILE.tsv] [--rows N] [--sets N] [--options "..."]

The whole command runs with two workers, from the store to the written sets: nouns, pairs, the filters of all
strategies (which read the image vectors, random ones of 512 dimensions here) and the tables. `--captions` names a table
of real captions (see benchmarks/caption_store.py); without it, captions of the demo's scenes are used. `--options` are
more options of `clipmine mine`. Memory is the sum over all processes, sampled five times a second: `memory` counts
shared pages once and includes mapped files (PSS), `anonymous` is without mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.caption_store import captions_store, read_captions, resampled, scene_captions

ROWS, SETS = 873_000, 278_000
QUICK_ROWS, QUICK_SETS = 20_000, 6_000
DIM = 512
TARGETS = {"share_made": 0.999, "minutes": 10.0, "memory_gb": 4.0}
AT_MOST = ("minutes", "memory_gb")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} captions, {QUICK_SETS:,} sets")
    parser.add_argument("--captions", type=Path, help="a table of real captions: image, caption_no, caption")
    parser.add_argument("--rows", type=int, help=f"captions  [default: {ROWS:,}]")
    parser.add_argument("--sets", type=int, help=f"sets to mine  [default: {SETS:,}]")
    parser.add_argument("--dim", type=int, default=DIM, help="dimensions of the image vectors")
    parser.add_argument("--options", default="", help="more options of `clipmine mine`")
    parser.add_argument("--folder", type=Path, help="write the store and the sets here, and keep them")
    args = parser.parse_args()
    rows = args.rows or (QUICK_ROWS if args.quick else ROWS)
    wanted = args.sets or (QUICK_SETS if args.quick else SETS)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    texts = read_captions(args.captions) if args.captions else scene_captions(400 if args.quick else 2_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "store" / "manifest.json").exists():
            captions_store(folder / "store", resampled(texts, rows), args.dim)
        command = ["mine", str(folder / "store"), "--strategy", "overlap", "--sets", str(wanted), "--workers", "2"]
        command += [*shlex.split(args.options), "--out", str(folder / "pairs")]
        seconds, memory, anonymous = run_measured([sys.executable, "-m", "jobs.cli", *command])
        figures = {
            "captions": rows,
            "wanted": wanted,
            "minutes": round(seconds / 60, 2),
            "memory_gb": round(memory, 2),
            "anonymous_gb": round(anonymous, 2),
            **described(folder / "pairs", wanted),
        }
    missed = [
        name
        for name, target in TARGETS.items()
        if (figures[name] > target if name in AT_MOST else figures[name] < target)
    ]
    print(json.dumps({"name": "overlap_size", "figures": figures, "targets": TARGETS, "holds": not missed}))
    return 0


def described(folder: Path, wanted: int) -> dict[str, float]:
    """Print sets and images a level; returns the share of the wanted sets that were made, and how many images."""
    summary = json.loads((folder / "manifest.json").read_text())["strategies"][0]
    members = pq.read_table(folder / "members", columns=["row_id"])["row_id"].to_numpy().reshape(-1, 2)
    levels = pq.read_table(folder / "sets", columns=["level"])["level"].to_numpy()
    for note in summary["notes"]:
        print(note)
    for level in np.unique(levels):
        own = members[levels == level]
        print(
            f"level {level:>2}: {len(own):>7,} sets of {summary['supply'][str(level)]:>9,} proposed, "
            f"{len(np.unique(own)):>7,} images"
        )
    print(f"made {len(levels):,} of {wanted:,}; dropped {summary['dropped']}, spare {summary['spare']:,}")
    return {
        "share_made": round(len(levels) / wanted, 4),
        "images": len(np.unique(members)),
        "most_sets_of_an_image": int(np.unique(members, return_counts=True)[1].max(initial=0)),
        **{f"level_{level}": int((levels == level).sum()) for level in np.unique(levels).tolist()},
    }


def run_measured(command: list[str]) -> tuple[float, float, float]:
    """Run the command; (seconds, peak PSS in GB, peak anonymous memory in GB) of its processes together."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    memory = anonymous = 0.0
    while process.poll() is None:
        sizes = [proportional_and_anonymous(pid) for pid in tree(process.pid)]
        memory = max(memory, sum(each for each, _ in sizes))
        anonymous = max(anonymous, sum(each for _, each in sizes))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - started, memory / 1e6, anonymous / 1e6


def tree(root: int) -> list[int]:
    """The process and all that it started, directly or not."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def proportional_and_anonymous(pid: int) -> tuple[float, float]:
    """kB in memory: with pages shared by n processes counted as 1/n, and without mapped files."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    found = {name: float(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return found.get("Pss", 0.0), found.get("Pss_Anon", 0.0) + found.get("Pss_Shmem", 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
