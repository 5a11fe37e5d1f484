"""Collects what `beside` prints, and says what it means for the time of an attack."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Seen", "Watch", "p99"]


@dataclass
class Seen:
    """Lines of `beside` by their kind, in the order in which they came."""

    probes: list[dict[str, Any]] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    lists: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: dict[str, Any]) -> None:
        """Take a line."""
        by_kind = {"probe": self.probes, "search": self.searches, "list": self.lists, "memory": self.memory}
        by_kind[line["kind"]].append(line)

    def longest_probe(self, start: float, end: float) -> float:
        """Seconds of the longest probe that was waited for between start and end, answered or not."""
        took = [line["took"] for line in self.probes if _touches(line, start, end)]
        waits = [line["oldest"] for line in self.memory if start <= line["at"] <= end]
        return max([*took, *waits], default=float("inf"))

    def failed_probes(self, start: float, end: float) -> int:
        """Probes that got another status than 200, or no answer."""
        return sum(line["status"] != 200 for line in self.probes if _touches(line, start, end))

    def search_seconds(self, start: float, end: float) -> list[float]:
        """Seconds of the authorised searches that were answered with 200, or that still wait."""
        took = [line["took"] for line in self.searches if _touches(line, start, end) and line["status"] == 200]
        last = self.memory[-1] if self.memory else {"at": start, "oldest_search": 0.0}
        waits = last["at"] - last["oldest_search"] < end and last["oldest_search"] > max(took, default=0.0)
        return [*took, last["oldest_search"]] if waits else took

    def failed_searches(self, start: float, end: float) -> dict[str, int]:
        """Authorised searches that failed, by status."""
        found: dict[str, int] = {}
        for line in self.searches:
            if _touches(line, start, end) and line["status"] != 200:
                found[str(line["status"])] = found.get(str(line["status"]), 0) + 1
        return found

    def failed_lists(self, start: float, end: float) -> int:
        """Authorised concept lists that failed, or got no whole answer."""
        return sum(line["status"] != 200 for line in self.lists if _touches(line, start, end))

    def most_mb(self, start: float, end: float) -> float:
        """The largest resident memory."""
        return max((line["mb"] for line in self.memory if start <= line["at"] <= end), default=0.0)

    def seconds_until_back(self, end: float, rest: float) -> float | None:
        """Seconds after `end` until memory was within 10% or 50 MB of `rest`; None when it was not in what was seen."""
        for line in self.memory:
            if line["at"] >= end and line["mb"] <= max(rest * 1.1, rest + 50):
                return float(line["at"] - end)
        return None


def _touches(line: dict[str, Any], start: float, end: float) -> bool:
    return bool(line["began"] < end and line["began"] + line["took"] > start)


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile; infinite where there is nothing."""
    if len(seconds) < 2:
        return seconds[0] if seconds else float("inf")
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


class Watch:
    """Runs `beside` for a service; `seen` grows until `close`."""

    def __init__(self, port: int, pid: int, token: str, searches: dict[str, list[dict[str, Any]]]) -> None:
        self.seen = Seen()
        command = [sys.executable, "-m", f"{__package__}.beside", str(port), str(pid), token]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(searches).encode())
        self._process.stdin.close()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    @property
    def mb(self) -> float:
        """The resident memory now."""
        return float(self.seen.memory[-1]["mb"]) if self.seen.memory else 0.0

    @property
    def oldest(self) -> float:
        """Seconds that the oldest unanswered probe has waited."""
        return float(self.seen.memory[-1]["oldest"]) if self.seen.memory else 0.0

    def close(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self.seen.add(json.loads(line))
            except ValueError:  # cut off when the process was stopped
                break
