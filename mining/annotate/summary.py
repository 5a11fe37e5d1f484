"""What became of the sets of a run of annotation, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
