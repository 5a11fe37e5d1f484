"""What became of the sets of a run of annotation, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AnnotateSummary"]


@dataclass(frozen=True)
class AnnotateSummary:
    """sets = annotated + rejected + failed + nothing_to_ask + image_missing + left.

    sets: of the view. annotated: with at least one answer that was understood; rejected: whose answers were not
    understood, or refused. Both count sets of earlier runs under this name, `earlier` of them. failed: without a reply;
    the next run asks again. left: not asked, since `stopped_by` (a limit of the budget, None where there was another
    reason) did not allow it. annotations, parts, rejections: of all runs under this name. requests, tokens, cost,
    seconds: of this run; cached: answers that were known. estimated_requests: whose tokens the model did not count.
    total_...: of all runs under this name. failures, rejections, missing: reason -> count.
    """

    kind: str
    annotator: str
    sets: int
    annotated: int
    rejected: int
    failed: int
    nothing_to_ask: int
    image_missing: int
    left: int
    stopped_by: str | None
    earlier: int
    annotations: int
    parts: int
    requests: int
    cached: int
    retried: int
    prompt_tokens: int
    new_tokens: int
    estimated_requests: int
    cost: float
    total_requests: int
    total_tokens: int
    total_cost: float
    seconds: float
    failures: Mapping[str, int]
    rejections: Mapping[str, int]
    missing: Mapping[str, int]
