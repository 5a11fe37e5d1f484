"""Samples that a training leaves out, and why, counted by source and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["SkippedCounts", "SkippedSample"]

NAMED = 10  # skipped samples that a summary names, of each source


@dataclass(frozen=True)
class SkippedSample:
    """A sample that cannot be trained on. reason: one of a few phrases, counted; detail: what this sample has."""

    sample_id: str
    source: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.source}: sample {self.sample_id}: {self.reason}{f' ({self.detail})' if self.detail else ''}"


@dataclass
class SkippedCounts:
    """Counts skipped samples; call it with each. named: the first of each source, as lines."""

    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, skipped: SkippedSample) -> None:
        self.reasons.setdefault(skipped.source, Counter())[skipped.reason] += 1
        named = self.named.setdefault(skipped.source, [])
        if len(named) < NAMED:
            named.append(str(skipped))

    def add(self, source: str, reasons: Mapping[str, int], named: list[str]) -> None:
        """The same for many samples of a source that were counted before."""
        if reasons:
            self.reasons.setdefault(source, Counter()).update(reasons)
            own = self.named.setdefault(source, [])
            own += named[: NAMED - len(own)]
