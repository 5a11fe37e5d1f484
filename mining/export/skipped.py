"""The sets that an export skips, counted by reason, and the summary of an export."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["NAMED", "REJECTED", "Counted", "OnSkipped", "SetsExport", "SkippedSet", "warn"]

# Skipped sets that a summary names. `to_webdataset` lists all of them in rejects.parquet.
NAMED = 10
# The reason of the sets that a person rejected on the page of pairs; these are counted and not named.
REJECTED = "rejected by a person"

log = logging.getLogger("clipmine.mining")


@dataclass(frozen=True)
class SkippedSet:
    """A set that was skipped, and why. position, ref: the member that was the reason, None where it was the set."""

    set_id: str
    position: int | None
    ref: str | None
    reason: str

    def __str__(self) -> str:
        where = "" if self.position is None else f", image {self.position + 1} ({self.ref})"
        return f"set {self.set_id}{where}: {self.reason}"


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
    """What an export wrote: asked = written + sum(skipped.values()).

    The counts are of samples, of which a set may give several, or, for `to_webdataset`, of sets. A set that gives no
    sample counts as one that was asked for and skipped. named: the first that were skipped, and why.
    """

    out: str
    asked: int
    written: int
    skipped: dict[str, int]
    named: list[str]
