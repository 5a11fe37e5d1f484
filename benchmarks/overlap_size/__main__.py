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
import shlex
import sys
import tempfile
from pathlib import Path

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
    # After --help, which needs no Arrow.
    from benchmarks.caption_store import captions_store, read_captions, resampled, scene_captions
    from benchmarks.overlap_size.measure import described, run_measured

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
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
