"""`clipmine plan --measure` beside what is then measured: seconds to build and queries a second at larger sizes.

Run as: python -m benchmarks.plan_measured [--quick] [--dim 64] [--rows 50000,100000,200000] [--codecs fp16,sq8,...]

The rates are fitted as `clipmine plan --measure` does it, at two small sizes; each larger size is built and searched
with one thread. Times are processor time. The target: no prediction is off by more than a quarter. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform

TARGET = 0.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one size of 20,000 rows")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("-M", type=int, default=32)
    parser.add_argument("--rows", default="50000,100000,200000", help="[default: 50000,100000,200000]")
    parser.add_argument("--codecs", default="fp16,sq8,sq4,rabitq", help="[default: all four]")
    parser.add_argument("--fitted", help="the two sizes that rates are fitted at  [default: those of clipmine plan]")
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from index.graph.rates import MEASURED_ROWS, measure_at, measure_rates

    small, large = map(int, args.fitted.split(",")) if args.fitted else MEASURED_ROWS
    sizes = [20_000] if args.quick else [int(size) for size in args.rows.split(",")]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; {args.dim} dimensions, M {args.M}, fitted at {small}, {large}"
    )
    print(
        f"{'codec':8}{'rows':>10}{'build: predicted':>20}{'measured':>12}{'queries/s: predicted':>24}{'measured':>12}"
    )
    figures, off = {}, []
    for codec in args.codecs.split(","):
        rates = measure_rates(codec, args.dim, args.M, (small, large))
        for rows in sizes:
            expected = rates.seconds_to_build(rows), rates.queries_in_a_second(rows)
            built, searched = measure_at(codec, args.dim, args.M, rows)
            print(
                f"{codec:8}{rows:>10,}{expected[0]:>20.1f}{built:>12.1f}{expected[1]:>24,.0f}{searched:>12,.0f}",
                flush=True,
            )
            figures[f"{codec}, {rows} rows"] = {
                "build": round(expected[0] / built, 3),
                "queries": round(expected[1] / searched, 3),
            }
            off += [abs(expected[0] / built - 1), abs(expected[1] / searched - 1)]
    holds = max(off) <= TARGET
    print(json.dumps({"name": "plan_measured", "figures": figures, "targets": {"off by": TARGET}, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
