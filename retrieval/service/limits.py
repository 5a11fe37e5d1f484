"""Limits of a request, checked before any work: queries, concepts, prompts, k, and results in all.

`Settings` holds the numbers that an operator chooses. Limits of single fields, such as the length of a text, are in
`retrieval.service.schemas`; the largest body is checked in `retrieval.service.security`.
"""

from __future__ import annotations

from index.errors import BadInput
from retrieval.service.schemas import SearchOptions
from retrieval.service.settings import Settings

__all__ = ["check_count", "check_k", "check_limits"]


def check_limits(request: SearchOptions, queries: int, settings: Settings, rows: int) -> None:
    """Raise BadInput when a request asks for more than the settings allow, or for more rows than the store has."""
    check_count(queries, settings.max_queries, "queries")
    check_k(request.k, settings, rows)
    if request.k * queries > settings.max_results:
        raise BadInput(f"{queries} queries x k {request.k}: more than {settings.max_results} results; send several")


def check_k(k: int, settings: Settings, rows: int) -> None:
    """Raise BadInput when k is more than the settings allow or than the store's rows."""
    most = min(settings.max_k, rows)
    if k > most:
        raise BadInput(f"k is {k}: at most {most} here")


def check_count(count: int, most: int, what: str) -> None:
    """Raise BadInput when a request holds more than `most` of `what`, such as "concepts"."""
    if count > most:
        raise BadInput(f"{count} {what}: at most {most} a request; send several")
