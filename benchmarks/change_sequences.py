"""Random sequences of changes of a store that is served meanwhile, every answer compared with an exact scan.

Run as: python -m benchmarks.change_sequences [--from 0] [--count 2000] [--totals FILE] [--minutes 8] [--quick]
        python -m benchmarks.change_sequences --seed 17 [--only 0,4,5]

A store of 300 to 2,400 rows in several parts and shards is embedded or adopted, grows, forgets rows and clusters, is
compacted and indexed by processes of their own, and a selection is retrieved from it again and again. Half of the
changes are stopped before one of their writes, killed there or at a random time, or meet a second writer. An index that
was opened before, one that is opened after, and a service over HTTP are asked before, during and after each change.

With --totals the counts are kept in a file, and a later run goes on after the last sequence. A sequence that fails is
run again without some of its changes, as long as it fails; its line shows how to run it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.changes.answers import Counts
    from tests.changes.sequence import Change

TARGETS = {"wrong": 0}
QUICK = 10


def main() -> int:
    """Run the sequences and print the counts; returns 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=int, dest="first", help="seed of the first sequence (0, or after --totals)")
    parser.add_argument("--count", type=int, default=2_000, help="seeds up to this number after the first (2,000)")
    parser.add_argument("--changes", type=int, default=12, help="changes of a sequence (12)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no sequence after this time")
    parser.add_argument("--totals", type=Path, metavar="FILE", help="a JSON file that the counts are added to")
    parser.add_argument("--seed", type=int, help="run one sequence")
    parser.add_argument("--only", metavar="N,N", help="with --seed: only these of its changes")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} sequences")
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from tests.changes.sequence import draw_changes

    if args.seed is not None:
        only = range(args.changes) if args.only is None else [int(number) for number in args.only.split(",")]
        changes = [change for change in draw_changes(args.seed, args.changes) if change.number in only]
        print(*changes, sep="\n", flush=True)
        return 1 if _failure(args.seed, changes) else 0
    return _run_all(args)


def _run_all(args: argparse.Namespace) -> int:
    from tests.changes.answers import Counts
    from tests.changes.sequence import draw_changes

    counts, wrong, last = Counts(), list[str](), -1
    if args.totals is not None and args.totals.exists():
        kept = json.loads(args.totals.read_text())
        counts, wrong, last = Counts(**kept["counts"]), kept["wrong"], kept["last"]
    first = args.first if args.first is not None else last + 1
    end = args.first + args.count if args.first is not None else args.count
    end = first + QUICK if args.quick else end
    print(f"{platform.machine()}, {os.cpu_count()} cores; sequences {first} to {end - 1}", flush=True)
    started = time.monotonic()
    for seed in range(first, end):
        if time.monotonic() - started > 60 * args.minutes:
            break
        changes = draw_changes(seed, args.changes)
        failure = _failure(seed, changes, counts)
        if failure:
            wrong.append(_describe(seed, changes, failure))
            print(wrong[-1], flush=True)
        last = seed
        if args.totals is not None:
            args.totals.write_text(json.dumps({"counts": asdict(counts), "wrong": wrong, "last": last}, indent=1))
        if (seed + 1) % 10 == 0 or seed + 1 == end:
            print(f"up to {seed}: {_sentence(counts)}, {time.monotonic() - started:,.0f} s", flush=True)
    recalls = {way: round(total / queries, 4) for way, (total, queries) in sorted(counts.recalls.items())}
    print(f"changes: {counts.by_name}; mean recall: {recalls}")
    figures: dict[str, Any] = {name: value for name, value in asdict(counts).items() if isinstance(value, int | float)}
    figures |= {"lowest": round(counts.lowest, 4), "wrong": len(wrong)}
    print(json.dumps({"name": "change_sequences", "figures": figures, "targets": TARGETS, "holds": not wrong}))
    return 1 if wrong else 0


def _failure(seed: int, changes: list[Change], counts: Counts | None = None) -> str:
    """What is wrong in a sequence; "" and its counts added where nothing is."""
    from tests.changes.sequence import run_sequence

    memory = Path("/dev/shm")  # the many small files take longer on a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        try:
            found = run_sequence(Path(folder), seed, changes)
        except Exception as error:  # a sequence that fails is described, and the others go on
            if counts is None:
                print(f"{type(error).__name__}: {error}", flush=True)
            return f"{type(error).__name__}: {str(error)[:1_000]}"
    if counts is not None:
        counts.add(found)
    return ""


def _describe(seed: int, changes: list[Change], failure: str) -> str:
    from tests.changes.sequence import shorten

    short = shorten(changes, lambda some: bool(_failure(seed, list(some))))
    only = ",".join(str(change.number) for change in short)
    return f"seed {seed}: {failure}\n  python -m benchmarks.change_sequences --seed {seed} --only {only or -1}"


def _sentence(counts: Counts) -> str:
    return (
        f"{counts.sequences:,} sequences, {counts.changes:,} changes, {counts.stopped:,} stopped, "
        f"{counts.killed:,} killed, "
        f"{counts.refused:,} refused, {counts.queries:,} queries, lowest mean recall {counts.lowest:.4f}"
    )


if __name__ == "__main__":
    sys.exit(main())
