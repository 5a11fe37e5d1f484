"""What became of the sets of a run of annotation, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["AnnotateSummary"]


@dataclass(frozen=True)
class AnnotateSummary:
    """sets = annotated + rejected + failed + nothing_to_ask + image_missing + left.

    Attributes:
        sets: those that were chosen.
        annotated: sets with at least one answer that was understood.
        rejected: sets whose answers were not understood, or were refusals.
        earlier: how many of `annotated` and `rejected` were decided by earlier runs under this name.
        failed: sets without a reply; the next run asks again.
        nothing_to_ask: sets without what the task needs, such as captions.
        image_missing: sets with an image that cannot be read.
        left: sets that were not asked about, as a limit did not allow it.
        stopped_by: that limit; None where no limit ended the run.
        annotations, parts: of all runs under this name.
        requests, prompt_tokens, new_tokens, cost, seconds: of this run.
        cached: questions that the cache answered. retried: questions that were asked again.
        estimated_requests: requests whose tokens the model did not count.
        total_requests, total_tokens, total_cost: of all runs under this name.
        failures, rejections, missing: reason -> count; rejections are of all runs under this name.
    """

    kind: str
    annotator: str
    sets: int
    annotated: int = 0
    rejected: int = 0
    failed: int = 0
    nothing_to_ask: int = 0
    image_missing: int = 0
    left: int = 0
    stopped_by: str | None = None
    earlier: int = 0
    annotations: int = 0
    parts: int = 0
    requests: int = 0
    cached: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    estimated_requests: int = 0
    cost: float = 0.0
    total_requests: int = 0
    total_tokens: int = 0
    total_cost: float = 0.0
    seconds: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    rejections: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
