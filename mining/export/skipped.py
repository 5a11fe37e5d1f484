"""The sets that an export skips, counted by reason, and the summary of an export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

__all__ = ["NAMED", "REJECTED", "Counted", "LoggedSkips", "OnSkipped", "SetsExport", "SkippedSet", "tell_unused"]

# Skipped sets that a summary or the log names. `to_webdataset` lists all of them in rejects.parquet.
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


@dataclass
class Counted:
    """Counts skipped sets by reason; call it with each."""

    reasons: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def __call__(self, skipped: SkippedSet) -> None:
        self.reasons[skipped.reason] = self.reasons.get(skipped.reason, 0) + 1
        if len(self.named) < NAMED and str(skipped) not in self.named:
            self.named.append(str(skipped))


class LoggedSkips:
    """Writes skipped sets to the log, the default of `on_skipped`: the first ten by name, and at the end the counts.

    A set whose samples are skipped one after another counts once. Use it as a context: the end is when it is left.
    """

    def __init__(self) -> None:
        self.counted = Counted()
        self._last: SkippedSet | None = None

    def __call__(self, skipped: SkippedSet) -> None:
        if skipped == self._last:
            return
        self._last = skipped
        self.counted(skipped)
        if sum(self.counted.reasons.values()) <= NAMED:
            log.warning("skipped %s", skipped)

    def add(self, skipped: Iterator[SkippedSet], counts: dict[str, int]) -> None:
        """The same for many sets, of which only the first are taken from `skipped`. counts: of all, by reason."""
        for each in islice(skipped, max(0, NAMED - sum(self.counted.reasons.values()))):
            log.warning("skipped %s", each)
        for reason, count in counts.items():
            self.counted.reasons[reason] = self.counted.reasons.get(reason, 0) + count

    def __enter__(self) -> LoggedSkips:
        return self

    def __exit__(self, *_: object) -> None:
        if self.counted.reasons:
            log.warning("skipped sets: %s", _listed(self.counted.reasons))


class Unused(Protocol):
    """Samples that know which sets give none."""

    rejected: int

    def unused(self) -> Iterator[SkippedSet]: ...
    def unused_counts(self) -> dict[str, int]: ...


def tell_unused(samples: Unused, on_skipped: OnSkipped | None, logged: LoggedSkips) -> None:
    """Give the sets without a sample to `on_skipped`, or, without one, name the first in the log and count all."""
    if on_skipped is not None:
        for each in samples.unused():
            on_skipped(each)
    elif counts := samples.unused_counts():
        logged.add(samples.unused(), counts)
    if samples.rejected:
        log.info("skipped %d sets: %s", samples.rejected, REJECTED)


def _listed(reasons: dict[str, int]) -> str:
    """ "1,200: missing; 7: without a caption", the most frequent first, at most ten."""
    frequent = sorted(reasons.items(), key=lambda each: -each[1])
    more = sum(count for _, count in frequent[NAMED:])
    said = [f"{count:,}: {reason}" for reason, count in frequent[:NAMED]]
    return "; ".join([*said, *([f"{more:,}: other reasons"] if more else [])])


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
