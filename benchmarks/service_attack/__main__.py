"""Attacks `clipmine serve` on this machine and measures what an authorised client and a load balancer notice of it.

Run as: python -m benchmarks.service_attack [--quick] [--only NAME]... [--out FILE]

The service is started as a user starts it, with two tokens, over a store of 20,000 rows that is made here. Beside it
run a probe of /healthz and one of /readyz (each on a new connection, every 50 ms), a client with a token that searches
by text, by row and by vector, and a meter of the resident memory of the service and the processes that it starts. After
a quiet phase come the attacks, one by one, from 127.0.0.2 and with the other token or none; then it is measured how
long the memory takes to come back. Everything stays on the loopback, and an attack is stopped when the service has
taken 6 GB. The exit status is 1 when a target is missed.

To measure another version, give its checkout: --service-root FOLDER [--service-python PATH].
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 s an attack and fewer connections")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this attack; may be given again")
    parser.add_argument("--list", action="store_true", help="name the attacks and what they do")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, after each attack")
    parser.add_argument("--seconds", type=float, help="of an attack (default: 8)")
    parser.add_argument("--ray", action="store_true", help="the service on Ray (--executor ray)")
    parser.add_argument("--fds", type=int, metavar="N", help="file descriptors that the service may have")
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="keep the store here, or use the one that is there"
    )
    parser.add_argument("--service-python", default=sys.executable, metavar="PATH", help="the Python of the service")
    parser.add_argument("--service-root", type=Path, metavar="FOLDER", help="the checkout that the service runs from")
    args = parser.parse_args()
    from benchmarks.service_attack.measure import TARGETS, Quiet, Row, as_json, measure_all
    from benchmarks.service_attack.run_attack import load_attacks
    from benchmarks.service_attack.service import HowToStart
    from benchmarks.service_attack.table import HEAD, line_of, quiet_line

    attacks = load_attacks()
    if args.list:
        for attack in attacks.values():
            print(f"{attack.name:26} {'token' if attack.needs_token else '     '} {attack.does}")
        return 0
    unknown = set(args.only or ()) - set(attacks)
    if unknown:
        parser.error(f"no attack {', '.join(sorted(unknown))}; --list names them")
    chosen = [attack for name, attack in attacks.items() if not args.only or name in args.only]
    from benchmarks.service_attack.served_store import PAIRS, ROWS, make_served_store

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is stopped too
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {ROWS:,} x 512; {len(chosen)} attacks")
    rows: list[Row] = []
    quiet: Quiet | None = None
    with tempfile.TemporaryDirectory() as folder:
        store, searches = make_served_store(args.store or Path(folder))
        pairs = store.parent / PAIRS
        how = HowToStart(
            store, args.service_python, pairs=pairs if pairs.exists() else None, ray=args.ray, fds=args.fds
        )
        if args.service_root is not None:
            how = replace(how, root=args.service_root.absolute())
        for found in measure_all(
            chosen,
            how,
            searches,
            seconds=args.seconds or (4.0 if args.quick else 8.0),
            quiet_seconds=4.0 if args.quick else 8.0,
            scale=0.3 if args.quick else 1.0,
            log=Path(f"{args.out}.log") if args.out else Path(folder) / "service.log",
        ):
            if isinstance(found, Quiet):
                quiet = found
                print(quiet_line(found), HEAD, sep="\n", flush=True)
                continue
            rows.append(found)
            print(line_of(found), flush=True)
            if args.out is not None and quiet is not None:
                whole = {"name": "service_attack", "quiet": as_json(quiet), "attacks": [as_json(row) for row in rows]}
                args.out.write_text(json.dumps({**whole, "targets": TARGETS}, indent=1))
    missed = [row.attack for row in rows if row.verdict]
    figures = {"attacks": len(rows), "held": len(rows) - len(missed), "missed": missed}
    print(json.dumps({"name": "service_attack", "figures": figures, "targets": TARGETS, "holds": not missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
