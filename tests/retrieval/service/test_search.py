"""POST /search: limits, and errors in one line."""

from __future__ import annotations

import re

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.serving import Serve


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"queries": []}, 422),
        ({"queries": [{}]}, 422),
        ({"queries": [{"text": "x", "row_id": 1}]}, 422),
        ({"queries": [{"text": "x"}], "kk": 3}, 422),
        ({"queries": [{"text": "x"}], "k": 0}, 422),
        ({"queries": [{"text": "x"}], "k": 34}, 400),
        ({"queries": [{"text": "x"}] * 600}, 413),
        ({"queries": [{"row_id": 33}]}, 404),
        ({"queries": [{"embedding": [1.0]}]}, 400),
        ({"queries": [{"embedding": [0.0] * 16}]}, 400),
        ({"queries": [{"image": "not base64!"}]}, 400),
        ({"queries": [{"image": "aGVsbG8="}]}, 400),
        ({"queries": [{"image_url": "http://example.org/x.jpg"}]}, 400),
    ],
)
def test_each_has_its_status_and_one_line(client: httpx.Client, body: dict[str, object], status: int) -> None:
    answer = client.post("/search", json=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]


def test_a_search_that_is_expected_to_take_too_long_is_refused(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(search_seconds=1e-6)) as url:
        body = {"queries": [{"row_id": 3}] * 20, "k": 5, "method": "exact"}
        answer = httpx.post(f"{url}/search", json=body)
        assert answer.status_code == 413
        assert re.fullmatch(
            r"20 queries with k 5: expected to take \S+ s by an exact scan, at most 1e-06 s here; ask for less at once",
            answer.json()["error"],
        )


def test_many_results_are_the_same_as_few_at_a_time(client: httpx.Client) -> None:
    queries = [{"row_id": row} for row in range(33)]
    together = client.post("/search", json={"queries": queries, "k": 30, "mark_duplicates": 0.9}).json()["results"]
    alone = [
        client.post("/search", json={"queries": [query], "k": 30, "mark_duplicates": 0.9}).json()["results"][0]
        for query in queries
    ]
    assert together == alone
