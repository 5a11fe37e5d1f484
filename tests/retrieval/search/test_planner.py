from __future__ import annotations

import dataclasses

import pytest

from index.errors import BadInput
from index.graph.disk import DiskRates
from index.graph.machine import SERVER
from retrieval.search.conditions import Conditions
from retrieval.search.planner import IndexCost, plan_search

GRAPH = IndexCost(shards=1, ef_search=128)


def test_one_query_walks_the_graph() -> None:
    plan = plan_search(1_000_000, 512, 1, 10, GRAPH)
    assert (plan.method, plan.ef_search) == ("hnsw", 128)
    assert plan.hnsw_seconds is not None
    assert plan.hnsw_seconds < plan.exact_seconds


def test_many_queries_with_a_large_k_are_scanned() -> None:
    plan = plan_search(20_000, 512, 5_000, 1_000, GRAPH, cores=2)
    assert (plan.method, plan.ef_search) == ("exact", None)


def test_a_gpu_makes_scans_of_large_batches_cheaper() -> None:
    assert plan_search(1_000_000, 512, 50_000, 10, GRAPH, "cpu").method == "hnsw"
    assert plan_search(1_000_000, 512, 50_000, 10, GRAPH, "cuda").method == "exact"


def test_only_the_shards_that_are_visited_cost_time() -> None:
    every, some = (plan_search(10**8, 512, 1_000, 10, IndexCost(40, 128, 0, each), cores=2) for each in (None, 5.0))
    assert every.hnsw_seconds is not None
    assert some.hnsw_seconds == pytest.approx(every.hnsw_seconds / 8)
    assert "through 5.0 of 40 graphs at efSearch 128" in some.why


def test_every_shard_is_walked() -> None:
    one, forty = (plan_search(10**8, 512, 1_000, 10, IndexCost(shards, 128), cores=2) for shards in (1, 40))
    assert one.hnsw_seconds is not None
    assert forty.hnsw_seconds is not None
    assert forty.hnsw_seconds > 20 * one.hnsw_seconds


def test_costs_meet_the_measured_ones_at_100_000_rows() -> None:
    for ef, rate in ((64, 5_680), (128, 3_208), (256, 1_818)):
        seconds = plan_search(100_000, 512, 10_000, 10, IndexCost(1, ef), cores=2).hnsw_seconds
        assert seconds == pytest.approx(10_000 / rate, rel=0.1)
    assert plan_search(300_000, 512, 10_000, 10, None, cores=2).exact_seconds == pytest.approx(10_000 / 445, rel=0.1)


def test_ef_search_is_k_at_least() -> None:
    assert plan_search(10**8, 512, 1, 500, GRAPH).ef_search == 500
    assert plan_search(10**8, 512, 1, 10, GRAPH, ef_search=40).ef_search == 40


def test_the_reason_is_one_sentence_with_both_costs() -> None:
    why = plan_search(1_000_000, 512, 64, 10, GRAPH, cores=2).why
    assert why.startswith("estimated faster: 64 queries through the graph at efSearch 128 take about ")
    assert "one exact scan of 1,000,000 rows for 64 queries about" in why
    assert "\n" not in why


def test_the_user_overrules_the_costs() -> None:
    assert plan_search(10**8, 512, 1, 10, GRAPH, method="exact").method == "exact"
    forced = plan_search(20_000, 512, 5_000, 1_000, GRAPH, method="hnsw")
    assert (forced.method, forced.ef_search) == ("hnsw", 1_000)
    assert forced.why.startswith("as asked: ")


def test_without_an_index_only_a_scan_is_possible() -> None:
    assert plan_search(10**8, 512, 1, 10, None).why.startswith("there is no index: ")
    with pytest.raises(BadInput, match="needs an index: run `clipmine index`"):
        plan_search(10**8, 512, 1, 10, None, method="hnsw")


def test_an_unknown_method_lists_the_valid_ones() -> None:
    with pytest.raises(BadInput, match="unknown search method 'ivf': choose hnsw or exact"):
        plan_search(10, 8, 1, 1, None, method="ivf")


def test_rows_that_are_not_indexed_yet_cost_a_scan_of_them_beside_the_graph() -> None:
    indexed, grown = (plan_search(10**8, 512, 100, 10, IndexCost(10, 128, tail)) for tail in (0, 10**7))
    tail = plan_search(10**7, 512, 100, 10, None).exact_seconds
    assert indexed.hnsw_seconds is not None
    assert grown.hnsw_seconds == pytest.approx(indexed.hnsw_seconds + tail, rel=0.05)
    assert "at efSearch 128 and past 10,000,000 rows that are not indexed yet take about" in grown.why
    assert plan_search(10**6, 512, 64, 10, IndexCost(1, 128, 10**6)).method == "exact"


def test_more_queries_than_one_pass_answers_read_the_rows_again() -> None:
    together, apart = (plan_search(10**8, 512, 80_000, 10, None, at_once=each) for each in (None, 4_096))
    assert apart.exact_seconds - together.exact_seconds == pytest.approx(19 * 10**8 * 512 * 2 / 1e9)
    assert "20 exact scans of 100,000,000 rows for 80,000 queries" in apart.why


def test_pages_that_are_not_in_memory_cost_reads_and_the_reason_tells_how_many() -> None:
    size = 518 * 10**9
    warm = plan_search(4 * 10**8, 512, 100, 10, IndexCost(40, 128))
    cold = plan_search(
        4 * 10**8, 512, 100, 10, IndexCost(40, 128), conditions=Conditions(index_bytes=size, cold_index=size // 2)
    )
    assert warm.hnsw_seconds is not None
    assert cold.hnsw_seconds is not None
    assert cold.hnsw_seconds > 10 * warm.hnsw_seconds
    assert "(259 GB are not in memory: " in cold.why


def test_a_cold_graph_and_rows_in_memory_make_a_scan_the_faster_one() -> None:
    graph, queries = IndexCost(1, 128), 200
    assert plan_search(10**6, 512, queries, 10, graph).method == "hnsw"
    slow_disk = dataclasses.replace(SERVER, disk=DiskRates(1e8, 5e-3))
    cold = Conditions(slow_disk, index_bytes=13 * 10**8, cold_index=13 * 10**8)
    assert plan_search(10**6, 512, queries, 10, graph, conditions=cold).method == "exact"


def test_a_page_is_read_once_however_many_queries_need_it() -> None:
    cold = Conditions(index_bytes=10**9, cold_index=10**9)
    some, more = (
        plan_search(10**6, 512, count, 10, IndexCost(1, 128), conditions=cold) for count in (10**5, 2 * 10**5)
    )
    warm = [plan_search(10**6, 512, count, 10, IndexCost(1, 128)) for count in (10**5, 2 * 10**5)]
    assert some.hnsw_seconds is not None
    assert more.hnsw_seconds is not None
    reads = [plan.hnsw_seconds - (one.hnsw_seconds or 0) for plan, one in zip((some, more), warm, strict=True)]  # type: ignore[operator]
    assert reads[0] == pytest.approx(reads[1]) == pytest.approx(10**9 / 4_096 * 100e-6)


def test_a_scan_of_cold_rows_takes_as_long_as_reading_them_in_every_pass() -> None:
    cold = Conditions(cold_rows=10**11)
    once, twice = (plan_search(10**8, 512, 2, 10, None, cores=64, at_once=at, conditions=cold) for at in (2, 1))
    assert once.exact_seconds >= 100
    assert twice.exact_seconds >= 200


def test_excluded_rows_lengthen_walks_until_a_scan_is_faster() -> None:
    whole, half, nearly_none = (
        plan_search(10**6, 512, 4, 10, GRAPH, method="hnsw", kept=kept) for kept in (1.0, 0.5, 0.01)
    )
    assert whole.hnsw_seconds is not None
    assert half.hnsw_seconds is not None
    assert whole.hnsw_seconds < half.hnsw_seconds < (nearly_none.hnsw_seconds or 0)
    assert "since 50% of the rows are excluded" in half.why
    assert half.ef_search == 128  # the search itself lengthens the list
    assert plan_search(10**6, 512, 64, 1_000, GRAPH, kept=0.01).method == "exact"


def test_the_reason_names_the_processor_that_rates_were_measured_on() -> None:
    measured = Conditions(rates=dataclasses.replace(SERVER, processor="AMD EPYC"))
    assert plan_search(10**6, 512, 4, 10, GRAPH, conditions=measured).why.endswith("by rates measured on AMD EPYC")
