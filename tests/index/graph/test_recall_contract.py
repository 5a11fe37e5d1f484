"""The contract says on which queries it was measured, where recall is least, and whether it still holds."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from index.graph.margins import Margins
from index.graph.recall_contract import CurvePoint, RecallContract, Stratum, VisitContract, VisitPoint

CURVE = (CurvePoint(16, 0.91, 0.8), CurvePoint(32, 0.96, 0.8))
CONTRACT = RecallContract(0.95, True, 32, "text", 990, 1_000, 0, (10, 100), CURVE)
CURVE_OF_VISITS = (VisitPoint(0, 0.1, 0.6, 0.5), VisitPoint(100, 0.2, 0.96, 0.9), VisitPoint(300, 0.6, 1.0, 0.99))
VISITS = VisitContract(Margins(100, 200), 0.2, CURVE_OF_VISITS)
HARD = replace(CONTRACT, strata=(Stratum("beside crowds", 200, (0.4, 0.97)), Stratum("far away", 20, (0.2, 0.41))))


def test_the_contract_as_one_line() -> None:
    line = "recall@10 0.960 at efSearch 32 on 990 captions against exact search (asked 0.95)"
    assert CONTRACT.sentence() == line
    assert "no efSearch measured reaches it" in replace(CONTRACT, met=False).sentence()
    asked_with_images = replace(CONTRACT, query_modality="image").sentence()
    assert "990 images as queries" in asked_with_images
    assert "says nothing about text queries" in asked_with_images


def test_hard_queries_have_their_own_figures() -> None:
    hard = "; 0.970 on 200 queries beside crowds; 0.410 on 20 queries far away (search there with the method exact)"
    assert HARD.sentence() == CONTRACT.sentence() + hard
    assert (HARD.recall_at_10, HARD.least_recall_at_10) == (0.96, 0.41)
    assert replace(HARD, ef_search=16).least_recall_at_10 == 0.2
    assert CONTRACT.least_recall_at_10 == 0.96


def test_a_contract_measured_before_rows_were_forgotten_says_so() -> None:
    contract = replace(CONTRACT, forgotten=10)
    assert contract.sentence(10) == CONTRACT.sentence()
    assert contract.sentence(1_503) == CONTRACT.sentence() + "; measured before 1,493 more rows were forgotten"
    assert contract.is_present(10)
    assert not contract.is_present(11)


def test_a_contract_reads_back_from_json_data() -> None:
    assert RecallContract.from_json(asdict(HARD)) == HARD
    for visits in (VISITS, replace(VISITS, margins=None)):
        contract = replace(CONTRACT, visits=visits)
        assert RecallContract.from_json(json.loads(json.dumps(asdict(contract)))) == contract
    earlier = asdict(CONTRACT)
    del earlier["visits"]  # of an index that was built before shards could be grouped
    assert RecallContract.from_json(earlier) == CONTRACT


def test_the_share_of_shards_that_are_visited() -> None:
    contract = replace(CONTRACT, visits=VISITS)
    assert "at efSearch 32 in 20% of the shards on 990 captions" in contract.sentence()
    assert [contract.visited(40, k) for k in (1, 10, 100, 10**9)] == [8.0, 8.0, 16.0, 40.0]
    assert replace(CONTRACT, visits=replace(VISITS, margins=None)).visited(40, 10) == 40.0
    assert CONTRACT.visited(40, 10) is None
