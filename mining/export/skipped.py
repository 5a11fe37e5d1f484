"""The sets that an export skips, counted by reason, and the summary of an export."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["NAMED", "Counted", "OnSkipped", "SetsExport", "SkippedSet", "warn"]

# Skipped sets that a summary names. `to_webdataset` lists all of them in rejects.parquet.
NAMED = 10

log = logging.getLogger("clipmine.mining")


@dataclass(frozen=True)
class SkippedSet:
    """A set that was skipped, and why. row_id: the member that was the reason; None where it was the whole set."""

    set_id: str
    row_id: int | None
    reason: str

    def __str__(self) -> str:
        return f"set {self.set_id}: " + (self.reason if self.row_id is None else f"row {self.row_id} is {self.reason}")


OnSkipped = Callable[[SkippedSet], None]


def warn(skipped: SkippedSet) -> None:
    """Write the skipped set to the log, the default of `on_skipped`."""
    log.warning("skipped %s", skipped)


@dataclass
class Counted:
    """Counts skipped sets by reason; call it with each."""

    reasons: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def __call__(self, skipped: SkippedSet) -> None:
        self.reasons[skipped.reason] = self.reasons.get(skipped.reason, 0) + 1
        if len(self.named) < NAMED:
            self.named.append(str(skipped))


@dataclass(frozen=True)
class SetsExport:
    """The sets of an export: asked = written + sum(skipped.values()). named: the first that were skipped, and why."""

    out: str
    asked: int
    written: int
    skipped: dict[str, int]
    named: list[str]
