"""Start-up: the CPU seconds of `clipmine --help`, the median of several runs.

Run as: python -m benchmarks.start_up [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

TARGET = 0.5  # CPU seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 runs instead of 25")
    runs = 5 if parser.parse_args().quick else 25
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {runs} runs")
    command = [str(Path(sys.executable).parent / "clipmine"), "--help"]
    seconds = [cpu_seconds(command) for _ in range(runs)]
    figures = {"cpu_seconds": round(statistics.median(seconds), 3), "cpu_seconds_worst": round(max(seconds), 3)}
    holds = figures["cpu_seconds"] <= TARGET
    print(json.dumps({"name": "start_up", "figures": figures, "targets": {"cpu_seconds": TARGET}, "holds": holds}))
    return 0


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command, in seconds."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    raise SystemExit(main())
