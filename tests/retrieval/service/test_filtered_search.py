"""POST /search: filters, how deep they make a search go, and where it stops."""

from __future__ import annotations

import threading

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.retrieval.stores import jpeg, make_store, random_unit
from tests.serving import Serve

NEVER = {"columns": [{"column": "caption", "op": "eq", "value": "nothing like it"}]}


@pytest.fixture(scope="module")
def many_rows(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    rows = 4_000
    return make_store(tmp_path_factory.mktemp("many"), random_unit(rows), images=[jpeg(0)] * rows)


def rows_of(answer: httpx.Response) -> list[list[int]]:
    assert answer.status_code == 200, answer.text
    return [[row["row_id"] for row in result["rows"]] for result in answer.json()["results"]]


def test_a_column_filter_goes_as_deep_as_it_must(client: httpx.Client, served_store: EmbeddingStore) -> None:
    captions = served_store.metadata(range(served_store.rows), ["caption"]).column("caption").to_pylist()
    wanted = {row for row, caption in enumerate(captions) if "red" in caption}
    filters = {"columns": [{"column": "caption", "op": "contains", "value": "RED"}]}
    body = {"queries": [{"text": "a blue square"}], "k": len(wanted), "filters": filters}
    (found,) = rows_of(client.post("/search", json=body))
    assert set(found) == wanted


def test_fewer_than_k_is_complete_only_when_all_was_looked_at(client: httpx.Client) -> None:
    filters = {"columns": [{"column": "caption", "op": "eq", "value": "nothing like it"}]}
    answer = client.post("/search", json={"queries": [{"text": "x"}], "k": 5, "filters": filters}).json()
    result = answer["results"][0]
    assert (result["rows"], result["searched"], result["complete"]) == ([], 33, True)


def test_min_score_and_exclude(client: httpx.Client) -> None:
    plain = client.post("/search", json={"queries": [{"row_id": 0}], "k": 10}).json()["results"][0]["rows"]
    floor, gone = plain[4]["score"], plain[0]["row_id"]
    body = {"queries": [{"row_id": 0}], "k": 10, "filters": {"min_score": floor - 1e-6, "exclude": [gone]}}
    (found,) = rows_of(client.post("/search", json=body))
    assert found == [row["row_id"] for row in plain[1:5]]


def test_near_duplicates_are_dropped_or_marked(client: httpx.Client) -> None:
    body = {"queries": [{"row_id": 0}], "k": 5, "mark_duplicates": 0.5}
    marked = client.post("/search", json=body).json()["results"][0]["rows"]
    assert any(row["near_duplicates"] for row in marked)
    body = {"queries": [{"row_id": 0}], "k": 5, "filters": {"near_duplicates": 0.5}}
    assert len(client.post("/search", json=body).json()["results"][0]["rows"]) < 5


@pytest.mark.parametrize(
    "condition",
    [
        {"column": "caption", "op": "in", "value": "red"},
        {"column": "caption", "op": "is_null", "value": 1},
        {"column": "caption", "op": "lt"},
        {"column": "caption", "op": "lt", "value": 3},
        {"column": "nothing", "op": "eq", "value": 3},
    ],
)
def test_a_condition_that_cannot_be_is_an_error(client: httpx.Client, condition: dict[str, object]) -> None:
    body = {"queries": [{"text": "x"}], "filters": {"columns": [condition]}}
    answer = client.post("/search", json=body)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


def test_many_queries_share_the_rows_that_filters_may_look_at(many_rows: EmbeddingStore, serve: Serve) -> None:
    with serve(many_rows, Settings(max_candidates=20_000)) as url:
        body = {"queries": [{"row_id": row} for row in range(100)], "k": 5, "filters": NEVER}
        results = httpx.post(f"{url}/search", json=body, timeout=60).json()["results"]
        assert {(result["searched"], result["complete"]) for result in results} == {(200, False)}
        body = {"queries": [{"row_id": 0}], "k": 5, "filters": NEVER}
        (result,) = httpx.post(f"{url}/search", json=body, timeout=60).json()["results"]
        assert (result["searched"], result["complete"], result["rows"]) == (4_000, True, [])


def test_filters_stop_when_their_time_is_up(many_rows: EmbeddingStore, serve: Serve) -> None:
    # A scan of so small a store is expected to take less than 5 ms; reading 4,000 captions takes longer.
    with serve(many_rows, Settings(search_seconds=0.005)) as url:
        body = {"queries": [{"row_id": 0}], "k": 1, "filters": NEVER}
        (result,) = httpx.post(f"{url}/search", json=body, timeout=60).json()["results"]
        assert result["rows"] == []
        assert not result["complete"]


def test_other_requests_are_answered_while_filters_are_applied(many_rows: EmbeddingStore, serve: Serve) -> None:
    body = {"queries": [{"row_id": row} for row in range(512)], "k": 5, "filters": NEVER}
    answers: list[httpx.Response] = []
    with serve(many_rows, Settings(max_candidates=4_000_000)) as url, httpx.Client(base_url=url) as client:
        slow = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/search", json=body, timeout=60)))
        slow.start()
        beside = 0
        while slow.is_alive():
            assert client.get("/healthz").status_code == client.get("/metrics").status_code == 200
            beside += slow.is_alive()
    assert answers[0].status_code == 200
    assert beside > 5
