"""Random sequences of growth, forgetting, compaction, indexing and kills, every answer compared with an exact scan.

Run as: python -m benchmarks.change_sequences [--sequences 2000] [--steps 12] [--first 0] [--quick]

The store has 300 to 1,700 rows in shards of 170. A quarter of the changes are killed (SIGKILL) after up to 0.4 s. After
each change 40 queries are asked of an index that was opened before it, and of one that is opened after it: nothing
forgotten may come back, no id may change its meaning, and recall@10 must stay above 0.97. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

TARGETS = {"wrong": 0}


def main() -> int:
    """Run the sequences and print the counts; returns 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=12, help="changes of a sequence")
    parser.add_argument("--first", type=int, default=0, help="seed of the first sequence")
    parser.add_argument("--quick", action="store_true", help="10 sequences")
    args = parser.parse_args()
    from tests.index.change_sequences import Counts, run_sequence

    number = 10 if args.quick else args.sequences
    print(f"{platform.machine()}, {os.cpu_count()} cores; {number} sequences of {args.steps} changes", flush=True)
    counts, wrong, started = Counts(), list[str](), time.monotonic()
    for done, seed in enumerate(range(args.first, args.first + number), 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_sequence(Path(folder), seed, args.steps, counts)
            except Exception as error:  # a sequence that fails is counted, and the others go on
                wrong.append(f"seed {seed}: {type(error).__name__}: {error}")
                print(wrong[-1], flush=True)
        if done % 10 == 0 or done == number:
            shown = f"{counts.changes:,} changes, {counts.killed:,} killed, {counts.answered:,} queries answered"
            seconds = time.monotonic() - started
            print(f"{done:,}/{number:,} sequences, {shown}, {len(wrong)} wrong, {seconds:,.0f} s", flush=True)
    changes = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.by_name.items()))
    print(f"changes: {changes}; lowest recall@10 of 40 queries {counts.worst:.4f}")
    figures = {"sequences": number, "changes": counts.changes, "killed": counts.killed, "answered": counts.answered}
    figures |= {"worst_recall": round(counts.worst, 4), "wrong": len(wrong)}
    print(json.dumps({"name": "change_sequences", "figures": figures, "targets": TARGETS, "holds": not wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
