"""What a request may ask for: queries, k and results in all are checked before any work."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from retrieval.search.planner import IndexCost, plan_search
from retrieval.service.limits import (
    Depth,
    OverLimit,
    check_count,
    check_k,
    check_limits,
    check_seconds,
    duplicate_seconds,
    search_bytes,
    search_depths,
)
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
    settings = Settings(max_concepts=3)
    check_count(3, settings, "max_concepts")
    with pytest.raises(OverLimit, match="4 concepts: at most 3 a request; send several") as refused:
        check_count(4, settings, "max_concepts")
    assert refused.value.bound == "max_concepts"


def depths(queries: int, rows: int = 1_000_000, **request: Any) -> Depth:
    return search_depths(SearchOptions.model_validate(request), queries, Settings(), rows, own=0)


def test_without_filters_a_search_looks_at_k_rows_and_with_them_at_more_within_limits() -> None:
    by_column = {"columns": [{"column": "caption", "op": "is_null"}]}
    assert depths(512, k=10) == Depth(10, 10)
    assert depths(1, k=10, filters=by_column) == Depth(40, 10_000)
    assert depths(512, k=10, filters=by_column) == Depth(40, 390), "200,000 rows over all queries"
    assert depths(512, k=1_000, filters=by_column) == Depth(1_000, 1_000), "never less than k"
    assert depths(1, rows=33, k=10, filters=by_column) == Depth(33, 33)
    assert depths(20, k=10, filters={"near_duplicates": 0.9}) == Depth(40, 3_162), "pairs that are compared"


def test_what_a_search_takes_grows_with_its_candidates_and_its_results() -> None:
    assert search_bytes(Depth(10, 10), 10, 1) < 20_000
    assert search_bytes(Depth(40, 10_000), 10, 20) > 20 * 10_000 * 12


def test_dropping_near_duplicates_is_expected_to_take_seconds_that_grow_with_the_square_of_the_depth() -> None:
    def seconds(depth: int, **filters: float) -> float:
        return duplicate_seconds(
            SearchOptions.model_validate({"k": 5, "filters": filters}), Depth(depth, depth), 10, 512
        )

    assert seconds(4_000) == 0
    assert seconds(4_000, near_duplicates=0.9) == 4 * seconds(2_000, near_duplicates=0.9)
    assert 0.1 < seconds(4_000, near_duplicates=0.9) < 30


def test_a_plan_that_takes_too_long_is_refused_with_what_to_change() -> None:
    scan = plan_search(400_000_000, 512, 100, 10, IndexCost(40, 128), method="exact")
    with pytest.raises(BadInput, match=r"expected to take 1.01e\+03 s by an exact scan, at most 60 s here; "):
        check_seconds(scan, Settings(), "search_seconds", "100 queries")
    graph = plan_search(400_000_000, 512, 100, 10, IndexCost(40, 128))
    check_seconds(graph, Settings(), "search_seconds", "100 queries")
