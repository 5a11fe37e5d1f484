"""Runs the tests under other conditions than a quiet machine's: CPU kinds, thread counts, users, foreign Ray clusters.

Run as: python -m tests.matrix [--only NAME ...] [--full]

Each condition runs the tests that could depend on it (all tests with --full) and must pass as a whole. The last line is
JSON: {"name", "figures": {condition: {"passed", "failed", "seconds"}}, "holds"}. Some conditions need root.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAY_ADDRESS_FILE = Path("/tmp/ray/ray_current_cluster")  # where `ray start` leaves its address
DEAD_ADDRESS = "127.0.0.1:6399"
NOBODY = 65534

# Tests whose numbers come out of matrix products, or that compare what different processes wrote.
NUMBERS = (
    "tests/index/encoder",
    "tests/index/graph",
    "tests/index/store",
    "tests/retrieval",
    "tests/customize",
    "tests/mining/strategies",
    "tests/jobs/test_api.py",
    "tests/jobs/test_embed_job.py",
    "tests/jobs/test_mine_job.py",
    "tests/jobs/test_customize_job.py",
    "tests/test_old_outputs.py",
)
# Tests that start Ray, or a child that could join one.
RAY = ("tests/index/corpus/test_download.py", "tests/jobs", "tests/retrieval/export")
# Tests that write files, start processes, bind ports or measure.
MACHINE = ("tests/index", "tests/jobs", "tests/retrieval", "tests/mining/pages", "tests/test_repository.py")


@dataclass(frozen=True)
class Condition:
    """One condition: its environment, a command that pytest is started through, and what holds around the run."""

    tests: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    through: Sequence[str] = ()
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@contextmanager
def dead_ray() -> Iterator[None]:
    """The address of a Ray cluster that is gone lies where `ray.init()` looks for one."""
    earlier = RAY_ADDRESS_FILE.read_text() if RAY_ADDRESS_FILE.exists() else None
    RAY_ADDRESS_FILE.parent.mkdir(parents=True, exist_ok=True)
    RAY_ADDRESS_FILE.write_text(DEAD_ADDRESS)
    try:
        yield
    finally:
        RAY_ADDRESS_FILE.unlink(missing_ok=True)
        if earlier is not None:
            RAY_ADDRESS_FILE.write_text(earlier)


@contextmanager
def living_ray() -> Iterator[None]:
    """Another Ray cluster runs on this machine, with no CPU to give away: a test that joins it cannot finish."""
    ray = str(Path(sys.executable).parent / "ray")
    head = ["start", "--head", "--block", "--port=6390", "--num-cpus=0", "--include-dashboard=false"]
    RAY_ADDRESS_FILE.unlink(missing_ok=True)
    # --block ties the cluster to this process; `ray stop` would stop every Ray of the machine.
    cluster = subprocess.Popen([ray, *head, "--disable-usage-stats"], stdout=subprocess.DEVNULL)
    try:
        while not RAY_ADDRESS_FILE.exists():
            if cluster.poll() is not None:
                raise RuntimeError("the foreign Ray cluster did not start")
            time.sleep(0.5)
        yield
    finally:
        cluster.terminate()
        cluster.wait()
        RAY_ADDRESS_FILE.unlink(missing_ok=True)


@contextmanager
def second_suite() -> Iterator[None]:
    """A second copy of the same tests runs beside, for as long as the first."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*pytest_command(MACHINE), f"--basetemp={folder}/second"]
        other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            other.terminate()
            other.wait()


@contextmanager
def other_folder() -> Iterator[None]:
    """Temporary files lie in a folder with a long name and a space in it."""
    with tempfile.TemporaryDirectory(prefix="temporary files of tests ") as folder:
        earlier = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("TMPDIR") if earlier is None else os.environ.update(TMPDIR=earlier)


@contextmanager
def home_of_nobody() -> Iterator[None]:
    """A home and a folder for temporary files that the user `nobody` may write to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        earlier = {name: os.environ.get(name) for name in ("HOME", "TMPDIR")}
        os.environ.update(HOME=folder, TMPDIR=folder)
        try:
            yield
        finally:
            for name, value in earlier.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


CONDITIONS = {
    "plain": Condition(NUMBERS),
    "aten-default": Condition(NUMBERS, {"ATEN_CPU_CAPABILITY": "default"}),
    "aten-avx2": Condition(NUMBERS, {"ATEN_CPU_CAPABILITY": "avx2"}),
    "one-thread": Condition(NUMBERS, {"OMP_NUM_THREADS": "1"}),
    "dead-ray": Condition(RAY, around=dead_ray),
    "living-ray": Condition(RAY, around=living_ray),
    "second-suite": Condition(MACHINE, around=second_suite),
    "nice": Condition(MACHINE, through=("nice", "-n", "19")),
    "other-user": Condition(
        MACHINE,
        {"PYTHONDONTWRITEBYTECODE": "1"},
        ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        home_of_nobody,
    ),
    "other-tmpdir": Condition(MACHINE, around=other_folder),
}


def pytest_command(tests: Sequence[str]) -> list[str]:
    """pytest over some tests, without a cache that two runs would share."""
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]


def run(condition: Condition, full: bool) -> dict[str, float]:
    """Run one condition's tests: their counts and seconds; pytest's own output goes to stdout."""
    started = time.monotonic()
    with condition.around():
        environment = {**os.environ, "CI": "true", **condition.environment}
        command = [*condition.through, *pytest_command(["tests"] if full else condition.tests)]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout[-4000:] if done.returncode else done.stdout.splitlines()[-1], flush=True)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if done.returncode and not failed:
        failed = 1  # pytest itself stopped
    return {"passed": counts.get("passed", 0), "failed": failed, "seconds": round(time.monotonic() - started)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CONDITIONS, default=list(CONDITIONS), metavar="NAME")
    parser.add_argument("--full", action="store_true", help="run all tests under each condition")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    figures = {}
    for name in arguments.only:
        print(f"{name}:", flush=True)
        figures[name] = run(CONDITIONS[name], arguments.full)
    holds = all(not figure["failed"] and figure["passed"] for figure in figures.values())
    print(json.dumps({"name": "tests/matrix", "figures": figures, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
