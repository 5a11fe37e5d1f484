"""Of the margins that reach the recall, the cheapest together with its efSearch is taken."""

from __future__ import annotations

import numpy as np

from index.graph.cells import on_grid
from index.graph.margins import Margins
from index.graph.measure_visits import choose_visits
from index.graph.visits import Visits
from tests.retrieval.stores import random_unit

SHARDS, ROWS = 8, 100


def one_cell_a_shard() -> Visits:
    table = np.stack([np.arange(SHARDS), np.arange(SHARDS), np.full(SHARDS, ROWS)], axis=1)
    lists = [(np.arange(shard * ROWS, (shard + 1) * ROWS), np.full(ROWS, shard, np.uint16)) for shard in range(SHARDS)]
    return Visits(on_grid(np.eye(SHARDS)), table, lambda: lists)


def queries_and_truth(visits: Visits) -> tuple[np.ndarray, np.ndarray]:
    """Of 200 queries, 90% have their best rows in the nearest shard, the others in the second nearest."""
    queries = random_unit(200, SHARDS).astype(np.float32)
    order = np.argsort(-visits.scores(queries), axis=1)
    shard = np.where(np.arange(200) % 10 == 0, order[:, 1], order[:, 0])
    return queries, shard[:, None] * ROWS + np.arange(100)[None]


def test_a_wider_margin_pays_where_it_allows_a_smaller_list() -> None:
    visits = one_cell_a_shard()
    queries, truth = queries_and_truth(visits)

    def recall_with(ef: int) -> float:
        # Graphs are exact from efSearch 64 on, and find .93 of what is there with less.
        shards = visits.chosen(queries, 10)
        return float(shards[np.arange(200), truth[:, 0] // ROWS].mean()) * (1.0 if ef >= 64 else 0.93)

    cheap = choose_visits(visits, queries, truth, 0.9, (16, 64), recall_with)
    assert cheap.margins == visits.margins is not None
    assert recall_with(16) >= 0.9  # with a wider margin than 64 would need
    assert cheap.share < 0.6
    assert [point.recall_at_10 for point in cheap.curve] == sorted(point.recall_at_10 for point in cheap.curve)
    assert (cheap.curve[0].margin, cheap.curve[0].share) == (0, 1 / SHARDS)
    assert cheap.curve[-1].share == 1.0

    dear = choose_visits(visits, queries, truth, 0.99, (16, 64), recall_with)
    assert dear.margins is not None
    assert recall_with(64) >= 0.99 > recall_with(16)


def test_all_shards_are_visited_where_nothing_reaches_the_recall() -> None:
    visits = one_cell_a_shard()
    queries, truth = queries_and_truth(visits)
    found = choose_visits(visits, queries, truth, 0.95, (16, 64), lambda ef: 0.5)
    assert (found.margins, found.share, visits.margins) == (None, 1.0, None)
    assert found.share_at(10) == 1.0


def test_the_share_at_other_numbers_of_rows_is_read_off_the_curve() -> None:
    visits = one_cell_a_shard()
    queries, truth = queries_and_truth(visits)
    found = choose_visits(visits, queries, truth, 0.95, (16,), lambda ef: float(visits.margins is not None))
    assert isinstance(found.margins, Margins)
    measured = visits.chosen(queries, 10).mean()
    assert abs(found.share_at(10) - measured) < 0.01
    assert found.share_at(10) <= found.share_at(1_000) <= 1.0


def test_rows_that_are_missing_from_the_answers_do_not_count() -> None:
    visits = one_cell_a_shard()
    queries, truth = queries_and_truth(visits)
    truth[:, 5:] = -1
    found = choose_visits(visits, queries, truth, 0.5, (16,), lambda ef: 1.0)
    assert found.curve[-1].recall_at_100 == 1.0
    assert choose_visits(visits, queries, np.full_like(truth, -1), 0.5, (16,), lambda ef: 1.0).share == 1 / SHARDS
