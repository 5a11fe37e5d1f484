"""What a request may ask for: queries, k and results in all are checked before any work."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from retrieval.service.limits import check_count, check_k, check_limits
from retrieval.service.schemas import SearchOptions
from retrieval.service.settings import Settings

SETTINGS = Settings(max_queries=4, max_k=50, max_results=100)


def test_what_is_within_the_limits_passes() -> None:
    check_limits(SearchOptions(k=25), queries=4, settings=SETTINGS, rows=1_000)
    check_k(50, SETTINGS, rows=50)


@pytest.mark.parametrize(
    ("k", "queries", "rows", "message"),
    [
        (1, 5, 1_000, "5 queries: at most 4 a request; send several"),
        (51, 1, 1_000, "k is 51: at most 50 here"),
        (21, 1, 20, "k is 21: at most 20 here"),
        (50, 3, 1_000, "3 queries x k 50: more than 100 results; send several"),
    ],
)
def test_more_is_refused_with_the_limit(k: int, queries: int, rows: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_limits(SearchOptions(k=k), queries=queries, settings=SETTINGS, rows=rows)


def test_a_count_is_refused_by_its_name() -> None:
    check_count(3, most=3, what="concepts")
    with pytest.raises(BadInput, match="4 concepts: at most 3 a request; send several"):
        check_count(4, most=3, what="concepts")
