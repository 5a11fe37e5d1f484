"""Limits of a request, checked before any work: queries, concepts, prompts, k, depth, results, memory.

`Settings` holds the numbers that an operator chooses. Limits of single fields, such as the length of a text, are in
`retrieval.service.schemas`; the largest body is checked in `retrieval.service.security`, and what all requests together
may take in `retrieval.service.admission`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from index.errors import BadInput
from retrieval.query_blocks import cut_blocks
from retrieval.search.planner import SearchPlan
from retrieval.service.filters import filter_columns
from retrieval.service.schemas import SearchOptions
from retrieval.service.settings import Settings

__all__ = [
    "Depth",
    "OverLimit",
    "check_count",
    "check_k",
    "check_limits",
    "check_seconds",
    "duplicate_seconds",
    "list_bytes",
    "search_bytes",
    "search_depths",
]

DEEPER = 4  # with filters, a search asks for this many times k rows, and for this many times more at each further step
# Pairs of images that a search compares to drop near-duplicates: some seconds of one core at 512 dimensions.
NEAR_PAIRS = 200_000_000
# To compare each of n rows with each other takes one core n * n * dim times this (2,000 and 5,000 rows at 512, x86-64).
COMPARE_SECONDS = 2e-11
# Of one row of one query: scores and row ids as they come and while filters are applied.
CANDIDATE_BYTES = 64
# Of one result with its metadata, as a fragment of JSON and in the answer; captions and URLs of usual length.
RESULT_BYTES = 1_500
# Of one candidate of a concept list: while the hits of a block are merged (`tracemalloc` counted 120 bytes), and while
# the rules are applied to those of all blocks (83, and some 40 for SHA-256 words).
MERGED_BYTES, GATHERED_BYTES = 120, 130
PROMPT_BYTES = 120  # of a Python text, beside its characters


class OverLimit(BadInput):
    """A request asks for more than the service allows at once. bound: the setting that says how much."""

    def __init__(self, bound: str, message: str) -> None:
        super().__init__(message)
        self.bound = bound


@dataclass(frozen=True)
class Depth:
    """Rows that a search looks at for each query: at first, and at the most, where filters leave fewer than k."""

    first: int
    most: int


def check_limits(request: SearchOptions, queries: int, settings: Settings, rows: int) -> None:
    """Raise OverLimit when a request asks for more than the settings allow, BadInput for more rows than there are."""
    check_count(queries, settings, "max_queries")
    check_k(request.k, settings, rows)
    if request.k * queries > settings.max_results:
        raise OverLimit(
            "max_results",
            f"{queries} queries x k {request.k}: more than {settings.max_results} results; send several",
        )


def check_k(k: int, settings: Settings, rows: int) -> None:
    """Raise OverLimit when k is more than the settings allow, BadInput when it is more than the store's rows."""
    if k > settings.max_k:
        raise OverLimit("max_k", f"k is {k}: at most {min(settings.max_k, rows)} here")
    if k > rows:
        raise BadInput(f"k is {k}: at most {rows} here")


def check_count(count: int, settings: Settings, bound: str) -> None:
    """Raise OverLimit when a request holds more than a setting allows, such as "max_concepts"."""
    most = getattr(settings, bound)
    if count > most:
        raise OverLimit(bound, f"{count} {bound.removeprefix('max_')}: at most {most} a request; send several")


def check_seconds(plan: SearchPlan, settings: Settings, bound: str, what: str) -> None:
    """Raise OverLimit when a search is expected to take longer than a setting allows, such as "search_seconds"."""
    most = getattr(settings, bound)
    if plan.seconds > most:
        way = "an exact scan" if plan.method == "exact" else "the index"
        raise OverLimit(
            bound,
            f"{what}: expected to take {plan.seconds:.3g} s by {way}, at most {most:g} s here; ask for less at once",
        )


def search_depths(request: SearchOptions, queries: int, settings: Settings, rows: int, own: int) -> Depth:
    """The depths of a search within the limits of the settings. own: 1 where queries are rows, which are no results."""
    filters = request.filters
    needed = min(rows, request.k + own)
    if not filter_columns(filters) and filters.near_duplicates is None:
        return Depth(needed, needed)
    most = min(settings.max_depth, settings.max_candidates // queries)
    if filters.near_duplicates is not None:
        most = min(most, math.isqrt(NEAR_PAIRS // queries))
    most = min(rows, max(most, needed))
    return Depth(min(most, request.k * DEEPER + own), most)


def duplicate_seconds(request: SearchOptions, depth: Depth, queries: int, dim: int) -> float:
    """Seconds of one core that dropping near-duplicates is expected to take, where it is asked for."""
    if request.filters.near_duplicates is None:
        return 0.0
    return queries * depth.first**2 * dim * COMPARE_SECONDS


def search_bytes(depth: Depth, k: int, queries: int) -> int:
    """Memory of a search's candidates and results."""
    return queries * (depth.most * CANDIDATE_BYTES + k * RESULT_BYTES)


def list_bytes(counts: Sequence[int], characters: int, *, depth: int, modes: int, rows: int, apart: bool) -> int:
    """Memory of a concept list's prompts and candidates.

    counts: prompts of each concept; characters: of all prompts. depth: rows that are searched for each prompt.
    modes: 1 or 2. rows: of the store. apart: the rules look at each concept alone, so that only the candidates of one
    block are held.
    """
    blocks = cut_blocks(counts)
    largest = max(block.queries for block in blocks) * depth
    kept = [min(count * depth, rows) for count in counts]
    held = max(sum(kept[block.first : block.last]) for block in blocks) if apart else sum(kept)
    texts = sum(counts) * PROMPT_BYTES + 2 * characters
    return texts + largest * MERGED_BYTES + held * modes * GATHERED_BYTES
