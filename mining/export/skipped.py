"""What a format could not take over from image sets, counted and named. Knows no format."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["NAMED", "Counted", "OnSkipped", "SetsExport", "SkippedSet", "warn"]

# Sets that a summary names; files of rejects, where there are any, name all.
NAMED = 10

log = logging.getLogger("clipmine.mining")


@dataclass(frozen=True)
class SkippedSet:
    """A set that was left out, and why; row_id is the member it was for, None where it was for the set as a whole."""

    set_id: str
    row_id: int | None
    reason: str

    def __str__(self) -> str:
        return f"set {self.set_id}: " + (self.reason if self.row_id is None else f"row {self.row_id} is {self.reason}")


OnSkipped = Callable[[SkippedSet], None]


def warn(skipped: SkippedSet) -> None:
    """What is done where nobody asks to be told: a line in the log."""
    log.warning("left out %s", skipped)


@dataclass
class Counted:
    """Counts by reason while an export runs; call it with each set that is left out."""

    reasons: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def __call__(self, skipped: SkippedSet) -> None:
        self.reasons[skipped.reason] = self.reasons.get(skipped.reason, 0) + 1
        if len(self.named) < NAMED:
            self.named.append(str(skipped))


@dataclass(frozen=True)
class SetsExport:
    """Sets: asked = written + sum(skipped.values()); `named` are the first that were left out, with their reasons."""

    out: str
    asked: int
    written: int
    skipped: dict[str, int]
    named: list[str]
