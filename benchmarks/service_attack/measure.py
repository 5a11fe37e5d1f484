"""Measures a service at rest and under one attack after the other."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.service_attack.attacker import Attack
from benchmarks.service_attack.service import ATTACKER, AUTHORISED, HowToStart, running
from benchmarks.service_attack.watch import Watch, p99

__all__ = ["TARGETS", "Quiet", "Row", "measure_all", "verdict"]

# At most: seconds, MB, seconds, searches, a ratio.
TARGETS = {"longest_probe": 0.2, "above_rest_mb": 500.0, "back_after": 10.0, "failed_searches": 0, "p99_ratio": 5.0}
STOP_MB = 6_000  # above rest: an attack is stopped, so that a machine with 24 GB survives it
KILL_MB = 8_500  # above rest: the service is killed, when it grows on after its attack has been stopped
REST = 2.0  # seconds before each attack
RECOVERY = 12.0  # seconds that memory is watched after an attack
PROBED_AFTER = 2.0  # seconds after an attack in which probes still count as its own


@dataclass(frozen=True)
class Quiet:
    """The service at rest. p99: of the authorised client's searches, seconds; longest_probe in seconds; mb: RSS."""

    p99: float
    longest_probe: float
    mb: float
    searches: int


@dataclass(frozen=True)
class Row:
    """What one attack did; times in seconds. got: what the attacker got, by status.

    failed_lists: authorised concept lists that failed. That is no target, since few lists may run at the same time.
    quiet_p99: the larger one of the first quiet phase and of the seconds before this attack. quiet_probe: the longest
    probe of those seconds.
    """

    attack: str
    longest_probe: float
    failed_probes: int
    rest_mb: float
    above_rest_mb: float
    back_after: float | None
    failed_searches: int
    failures: dict[str, int]
    failed_lists: int
    p99_ratio: float
    quiet_p99: float
    quiet_probe: float
    searches: int
    got: dict[str, int]
    said: list[str]
    stopped: bool
    died: bool
    verdict: list[str]


def verdict(
    longest_probe: float, above_rest_mb: float, back_after: float | None, failed_searches: int, p99_ratio: float
) -> list[str]:
    """The names of the targets that were missed."""
    found = {
        "longest_probe": longest_probe,
        "above_rest_mb": above_rest_mb,
        "back_after": float("inf") if back_after is None else back_after,
        "failed_searches": failed_searches,
        "p99_ratio": p99_ratio,
    }
    return [name for name, most in TARGETS.items() if not found[name] <= most]


def measure_all(
    attacks: Sequence[Attack],
    how: HowToStart,
    searches: dict[str, list[dict[str, Any]]],
    *,
    seconds: float,
    quiet_seconds: float,
    scale: float,
    log: Path,
) -> Iterator[Quiet | Row]:
    """The service at rest, then a row for each attack.

    The service is started again when it has died, when an attack has left it busy or large, and for attacks that need
    one with fewer files.
    """
    quiet: Quiet | None = None
    left = list(attacks)
    while left:
        fds = left[0].fds or how.fds
        with ExitStack() as stack:
            port, service = stack.enter_context(running(replace(how, fds=fds), log))
            watch = Watch(port, service.pid, AUTHORISED, searches)
            stack.callback(watch.close)
            time.sleep(3 if quiet is None else 2)  # caches fill, buffers are made
            if quiet is None:
                quiet = _rest(watch, quiet_seconds)
                yield quiet
            fresh = True
            while left and (left[0].fds or how.fds) == fds and fresh:
                row = _measure(left.pop(0), port, service, watch, quiet, seconds, scale)
                yield row
                fresh = not row.died and row.back_after is not None and _calm(watch, quiet)


def _rest(watch: Watch, seconds: float) -> Quiet:
    start = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    found = watch.seen.search_seconds(start, end)
    failed = watch.seen.failed_searches(start, end)
    if failed or len(found) < 2:
        raise SystemExit(f"the service at rest does not answer: {failed or 'no search was answered'}")
    return Quiet(p99(found), watch.seen.longest_probe(start, end), watch.seen.most_mb(start, end), len(found))


def _calm(watch: Watch, quiet: Quiet) -> bool:
    """Whether the service answers again as it did at rest; waits a second for it."""
    start = time.monotonic()
    time.sleep(1)
    found = watch.seen.search_seconds(start, time.monotonic())
    return watch.oldest < 0.2 and len(found) > 5 and max(found) < max(0.5, 5 * quiet.p99)


def _measure(
    attack: Attack,
    port: int,
    service: subprocess.Popen[bytes],
    watch: Watch,
    quiet: Quiet,
    seconds: float,
    scale: float,
) -> Row:
    before = time.monotonic()
    time.sleep(REST)
    # Other programs on the machine come and go: the slower of the two quiet times counts.
    found = watch.seen.search_seconds(before, time.monotonic())
    usual = max(quiet.p99, p99(found) if len(found) > 1 else 0.0)
    quiet_probe = watch.seen.longest_probe(before, time.monotonic())
    rest = min(watch.seen.most_mb(time.monotonic() - 1, time.monotonic()), watch.mb)
    command = [sys.executable, "-m", f"{__package__}.run_attack", attack.name, str(port), f"{seconds:g}", ATTACKER]
    attacker = subprocess.Popen([*command, f"{scale:g}"], stdout=subprocess.PIPE)
    try:
        _next_line(attacker, 120)
        start = time.monotonic()
        stopped = False
        while attacker.poll() is None and time.monotonic() < start + seconds + 5:
            if watch.mb > rest + STOP_MB or service.poll() is not None:
                stopped = True
                break
            time.sleep(0.05)
        if attacker.poll() is None:
            attacker.terminate()
        answer = _next_line(attacker, 3)
    finally:
        attacker.kill()
        attacker.wait()
    end = time.monotonic()
    back = None
    while time.monotonic() < end + RECOVERY and service.poll() is None:
        time.sleep(0.1)
        if watch.mb > rest + KILL_MB:
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()
        back = watch.seen.seconds_until_back(end, rest)
        if back is not None and time.monotonic() > end + PROBED_AFTER and watch.oldest < 1:
            break
    died = service.poll() is not None
    told: dict[str, Any] = {"got": {}, "said": ["the attack was cut off"]}
    if answer.startswith("{"):
        told = json.loads(answer)
    until = end + PROBED_AFTER
    seen = watch.seen
    failures = seen.failed_searches(start, until)
    figures: dict[str, Any] = {
        "longest_probe": float("inf") if died else seen.longest_probe(start, time.monotonic()),
        "above_rest_mb": seen.most_mb(start, until) - rest,
        "back_after": None if died else back,
        "failed_searches": sum(failures.values()),
        "p99_ratio": p99(seen.search_seconds(start, until)) / usual,
    }
    missed = verdict(**figures)
    failed_probes = seen.failed_probes(start, time.monotonic())
    if failed_probes:
        missed.append("failed_probes")
    if any(line.startswith("BAD") for line in told["said"]):
        missed.append("redirected")
    return Row(
        attack=attack.name, failed_probes=failed_probes, rest_mb=rest, failures=failures,
        failed_lists=seen.failed_lists(start, until), quiet_p99=usual, quiet_probe=quiet_probe,
        searches=len(seen.search_seconds(start, until)), got=told["got"], said=told["said"], stopped=stopped, died=died,
        verdict=missed, **figures,
    )  # fmt: skip


def _next_line(process: subprocess.Popen[bytes], seconds: float) -> str:
    """The next line of its output; empty when none comes in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline().decode() if selector.select(seconds) else ""


def as_json(row: Quiet | Row) -> dict[str, Any]:
    """A row for the JSON file: infinite numbers become null."""
    return {
        name: None if isinstance(value, float) and value == float("inf") else value
        for name, value in asdict(row).items()
    }
