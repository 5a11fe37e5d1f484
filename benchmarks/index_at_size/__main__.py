"""Indexes of large stores: builds that must be equal byte by byte, searches in little memory, growth of time.

Run as: python -m benchmarks.index_at_size builds|memory|growth [--quick] [--rows N] [--dim D] [--folder DIR]

builds: `clipmine index` on Spark, on Ray, on a Ray that loses a node in the middle, and on a Ray whose driver gets
`kill -9` in the middle and is run again. All files of the four indexes are compared, and the store's old index is asked
all the while. memory: the anonymous memory, sampled, of a search and of an exact scan of a store that is larger than
1.5 GB; pages of mapped files, which the system can take back, are reported beside it. With --enforce the kernel limits
all memory of these processes, pages of files too, to 1.5 GB (Linux, as root). growth: processor time of one
graph's build and queries a second at equal recall@10 over the number of rows, with exponents. Vectors are made up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from contextlib import nullcontext
from pathlib import Path

# rows and dimensions, quick ones behind
SIZES = {"builds": ((1_000_000, 64), (80_000, 64)), "memory": ((3_000_000, 512), (50_000, 512))}
GROWTH = ([100_000, 300_000, 1_000_000, 3_000_000], [5_000, 10_000, 20_000])
LIMIT = 1_500_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["builds", "memory", "growth"])
    parser.add_argument("--quick", action="store_true", help="80,000 rows; 50,000 for memory; up to 20,000 for growth")
    parser.add_argument("--rows", type=int, help="rows of the store, the most rows for growth")
    parser.add_argument("--dim", type=int, help="dimensions  [64; 512 for memory]")
    parser.add_argument("--codec", default="", help="fp16 or sq8  [fp16; sq8 for memory]")
    parser.add_argument("-M", type=int, default=16, help="links  [default: 16]")
    parser.add_argument("--ef-construction", type=int, default=40, help="[default: 40]")
    parser.add_argument("--shard-rows", type=int, default=250_000, help="for memory  [default: 250,000]")
    parser.add_argument(
        "--build-seconds", type=float, help="for memory: stop a build after so long; run again, it goes on"
    )
    parser.add_argument("--enforce", action="store_true", help="for memory: search in a control group of 1.5 GB")
    parser.add_argument("--captions", action="store_true", help="for builds: a store with captions, which choose links")
    parser.add_argument(
        "--folder", type=Path, help="write stores here, keep them, and go on with what an ended run has done"
    )
    args = parser.parse_args()
    # After --help, which needs no numpy.
    from benchmarks.index_at_size.limited_group import limited_group
    from benchmarks.index_at_size.measure import equal_builds, growth, memory

    codec = args.codec or ("sq8" if args.what == "memory" else "fp16")
    recipe = ["--codec", codec, "-M", str(args.M), "--ef-construction", str(args.ef_construction)]
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {' '.join(recipe)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if args.what == "growth":
            sizes = [size for size in GROWTH[args.quick] if size <= (args.rows or size)]
            choices = {"codec": codec, "M": args.M, "ef_construction": args.ef_construction}
            figures, targets = growth(folder, sizes, args.dim or 64, choices), {}
            holds = True
        else:
            rows, dim = SIZES[args.what][args.quick]
            rows, dim = args.rows or rows, args.dim or dim
            if args.what == "builds":
                figures = equal_builds(folder, rows, dim, recipe, captions=args.captions)
                targets = {"identical": figures["builds"], "wrong answers": 0}
                holds = all(figures[name] == target for name, target in targets.items())
            else:
                recipe += ["--shard-rows", str(args.shard_rows)]
                with limited_group(LIMIT) if args.enforce else nullcontext() as group:
                    figures = memory(folder, rows, dim, recipe, args.build_seconds or 1e6, group)
                targets = {f"{what}, anonymous GB": LIMIT / 1e9 for what in ("search", "scan")}
                holds = all(figures[name] <= target for name, target in targets.items())
    print(json.dumps({"name": f"index_at_size {args.what}", "figures": figures, "targets": targets, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
