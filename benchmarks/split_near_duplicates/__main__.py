"""Test images that have a near-duplicate in train, in splits by equal files alone and in splits by vectors.

Run as: python -m benchmarks.split_near_duplicates [--quick] [--scenes N]

Scenes are drawn, embedded with the small CLIP and paired at random and with their nearest neighbours below the limit.
Both sets of pairs are cut 9 : 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform

TARGETS = {"test images with a near-duplicate in train": 0, "sets in test over asked": 0.8}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 scenes")
    parser.add_argument("--scenes", type=int, help="default: 4,000")
    args = parser.parse_args()
    from benchmarks.split_near_duplicates.measure import measured  # after --help, which needs no Arrow

    count = args.scenes or (1_000 if args.quick else 4_000)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {count:,} scenes")
    figures = measured(count)
    names = ("random", "neighbours")
    close = max(figures[f"{name}, by vectors"][0] for name in names)
    met = min(figures[f"{name}, by vectors"][2] / figures[f"{name}, asked"] for name in names)
    worst = dict(zip(TARGETS, (close, round(met, 3)), strict=True))
    holds = close == 0 and met >= 0.8
    report = {"name": "split_near_duplicates", "figures": {**figures, **worst}, "targets": TARGETS, "holds": holds}
    print(json.dumps(report))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
