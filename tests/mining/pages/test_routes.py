from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from index.store.embedding_store import EmbeddingStore
from mining.pages import review
from mining.sets.decisions import read_decisions
from retrieval.service.settings import Settings
from tests.fuzzing import fuzz
from tests.mining.pages.conftest import PAIRS, ServePairs
from tests.mining.sets.test_image_sets import SCHEMA


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def client(serve_pairs: ServePairs, decisions: Path) -> Iterator[httpx.Client]:
    with serve_pairs(decisions) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def page(client: httpx.Client, **wanted: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/pairs", params=wanted).raise_for_status().json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["set_id"] for each in answer["sets"]]


def test_a_page_of_sets_meets_the_schema_and_says_how_to_go_on(client: httpx.Client) -> None:
    seen: list[str] = []
    answer = page(client, limit=15)
    while True:
        for each in answer["sets"]:
            jsonschema.validate(each, SCHEMA)
        seen += ids(answer)
        if answer["next"] is None:
            break
        answer = page(client, limit=15, cursor=answer["next"])
    assert len(seen) == len(set(seen)) == PAIRS + 4
    assert seen[:4] == ["0_1", "0_2", "3_4", "5_4_3"]
    assert answer["matching"] == PAIRS + 4
    assert answer["counts"] == [
        {"strategy": "attribute", "level": 1, "sets": 1},
        {"strategy": "identity", "level": 3, "sets": 1},
        {"strategy": "overlap", "level": 1, "sets": 1},
        {"strategy": "overlap", "level": 2, "sets": 1},
        {"strategy": "similar", "level": 1, "sets": PAIRS // 2},
        {"strategy": "similar", "level": 2, "sets": PAIRS // 2},
    ]


def test_filters_by_strategy_level_and_text(client: httpx.Client) -> None:
    assert ids(page(client, strategy="overlap")) == ["0_1", "0_2"]
    assert ids(page(client, strategy="overlap", level=1)) == ["0_2"]
    assert ids(page(client, strategy="none")) == []
    assert ids(page(client, text="A BALL")) == ["0_1", "0_2"], "in any case, in any caption"
    assert ids(page(client, text="lionel")) == ["5_4_3"]
    found = page(client, text="caption 65")
    assert (ids(found), found["next"], found["looked_at"]) == (["64_65"], None, PAIRS + 4)


def test_a_search_that_looks_at_many_says_where_to_go_on(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "_LOOKED_AT", 10)
    found, cursor, asked = [], 0, 0
    while cursor is not None:
        answer = page(client, text="caption 65", cursor=cursor)
        found += ids(answer)
        cursor, asked = answer["next"], asked + 1
    assert (found, asked) == (["64_65"], 4)


def test_one_set_by_its_id(client: httpx.Client) -> None:
    each = client.get("/pairs/5_4_3").json()
    jsonschema.validate(each, SCHEMA)
    assert (each["entity"], each["size"], each["decision"]) == ("Lionel", 3, None)
    for missing in ("3_4_5", "9999999_1"):
        answer = client.get(f"/pairs/{missing}")
        assert (answer.status_code, answer.json()["error"]) == (404, f"there is no set '{missing}'")
    assert client.get("/pairs/..%2f1").status_code in (404, 422)
    assert client.get("/pairs/abc").status_code == 422


def test_a_decision_is_in_the_file_and_in_the_answers(client: httpx.Client, decisions: Path) -> None:
    answer = client.post("/pairs/5_4_3/decision", json={"decision": "reject"})
    assert answer.json() == {"set_id": "5_4_3", "decision": "reject"}
    assert read_decisions(decisions).rejected == {(3, 4, 5)}
    assert client.get("/pairs/5_4_3").json()["decision"] == "reject"
    assert ids(page(client, decision="reject")) == ["5_4_3"]
    assert "5_4_3" not in ids(page(client, decision="undecided"))
    client.post("/pairs/5_4_3/decision", json={"decision": "keep"})
    assert read_decisions(decisions).rejected == frozenset()
    assert ids(page(client, decision="keep")) == ["5_4_3"]
    assert len(decisions.read_text().splitlines()) == 2


@pytest.mark.parametrize("body", [{}, {"decision": "drop"}, {"decision": "reject", "rows": [1]}, []])
def test_other_bodies_are_refused(client: httpx.Client, decisions: Path, body: object) -> None:
    answer = client.post("/pairs/0_1/decision", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not decisions.exists()


def test_what_another_site_can_send_without_asking_is_refused(client: httpx.Client, decisions: Path) -> None:
    """A page elsewhere may send text, or bytes without a type, to this address; JSON it may not."""
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        answer = client.post("/pairs/0_1/decision", content=b'{"decision": "reject"}', headers=headers)
        assert answer.status_code == 422
    assert not decisions.exists()


@pytest.mark.parametrize("wanted", [{"limit": 0}, {"limit": 201}, {"cursor": -1}, {"level": -1}, {"decision": "drop"}])
def test_what_cannot_be_asked_is_one_line(client: httpx.Client, wanted: dict[str, Any]) -> None:
    answer = client.get("/pairs", params=wanted)
    assert answer.status_code == 422
    assert next(iter(wanted)) in answer.json()["error"]


def test_the_token_is_asked_for_by_the_routes_and_not_by_the_page(serve_pairs: ServePairs, decisions: Path) -> None:
    with serve_pairs(decisions, Settings(tokens=("secret",))) as url:
        assert httpx.get(f"{url}/page/pairs/").status_code == 200
        assert httpx.get(f"{url}/page/pairs/main.js").status_code == 200
        for path in ("/pairs", "/pairs/0_1"):
            assert httpx.get(url + path).status_code == 401
            assert httpx.get(url + path, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert httpx.post(f"{url}/pairs/0_1/decision", json={"decision": "reject"}).status_code == 401
    assert not decisions.exists()


def test_forgotten_rows_are_in_no_answer_from_that_moment(
    client: httpx.Client, pairs_store: EmbeddingStore, decisions: Path
) -> None:
    folder = pairs_store.path / "forgotten"
    assert "6_7" in ids(page(client))
    import numpy as np

    folder.mkdir()
    try:
        np.save(folder / "0000.npy", np.array([7], np.int64))
        assert "6_7" not in ids(page(client))
        assert client.get("/pairs/6_7").status_code == 404
        assert client.post("/pairs/6_7/decision", json={"decision": "reject"}).status_code == 404
    finally:
        (folder / "0000.npy").unlink()
        folder.rmdir()


def test_the_routes_document_themselves(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/pairs", "/pairs/{set_id}", "/pairs/{set_id}/decision"} <= set(paths)
    assert "/page/pairs/" not in paths


@pytest.mark.filterwarnings("ignore")  # of the requests that schemathesis makes up, not of ours
def test_no_request_breaks_the_routes_or_the_decisions(serve_pairs: ServePairs, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.jsonl"
    decisions.touch()
    with serve_pairs(decisions) as url:
        asked = fuzz(url, "^/pairs")
    assert asked[200] > 5
    assert asked[404] > 5
    read_decisions(decisions)
