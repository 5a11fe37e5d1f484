from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.fuzzing import CASES, TIMEOUT, fuzz
from tests.retrieval.stores import make_store, random_unit
from tests.serving import Serve

TEXT = {"queries": [{"text": "a red circle"}], "k": 2}


def test_cors_is_off_unless_asked(served_store: EmbeddingStore, serve: Serve, client: httpx.Client) -> None:
    asked = {"Origin": "https://lab.example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/search", headers=asked).headers
    with serve(served_store, Settings(cors_origins=("https://lab.example.org",))) as url:
        allowed = httpx.options(f"{url}/search", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://lab.example.org"
        other = httpx.options(f"{url}/search", headers={**asked, "Origin": "https://evil.example.org"}).headers
        assert "access-control-allow-origin" not in other


def test_every_error_is_one_line(client: httpx.Client) -> None:
    answers = [
        client.get("/no/such/path"),
        client.get("/rows/99"),
        client.get("/rows/x"),
        client.post("/search", content=b"{"),
        client.post("/search", json={"queries": [{"text": "a"}], "k": 1, "filter": {}}),
        client.put("/search"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 422, 422, 422, 405]
    for answer in answers:
        assert list(answer.json()) == ["error"]
        assert "\n" not in answer.json()["error"]
    assert answers[4].json()["error"].startswith("filter: ")


def test_requests_are_counted_by_route_and_status(client: httpx.Client) -> None:
    def counted() -> float:
        found = re.search(
            r'clipmine_requests_total{route="/rows/{row_id}",status="404"} (\S+)', client.get("/metrics").text
        )
        return float(found[1]) if found else 0.0

    before = counted()
    for row in (33, 34):
        client.get(f"/rows/{row}")
    assert counted() == before + 2


def test_a_metadata_file_that_vanishes_is_an_honest_answer(tmp_path: Path, serve: Serve) -> None:
    store = make_store(tmp_path, random_unit(4))
    store.path.joinpath("metadata/metadata_0001.parquet").unlink()
    with serve(EmbeddingStore(store.path, store.manifest)) as url, httpx.Client(base_url=url) as client:
        assert client.get("/rows/0").status_code == 200
        assert client.get("/rows/3").status_code == 503
        assert client.get("/healthz").status_code == 200


def test_a_graceful_stop_finishes_what_is_running(served_store: EmbeddingStore, serve: Serve) -> None:
    body = {"queries": [{"text": f"thing {number}"} for number in range(512)], "k": 30}
    answers: list[httpx.Response] = []
    with serve(served_store) as url:
        thread = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/search", json=body, timeout=30)))
        thread.start()
        count = re.compile(r'clipmine_batch_size_count{stage="encode_texts"} [1-9]')
        while not count.search(httpx.get(f"{url}/metrics").text):  # until it is being encoded
            time.sleep(0.01)  # then leaving the block stops the server
    thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert len(answers[0].json()["results"]) == 512


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.filterwarnings("ignore")  # of the requests that schemathesis makes up, not of ours
def test_no_request_breaks_the_service(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(body_seconds=5)) as url:
        answered = fuzz(url)
    assert answered[200] >= min(CASES, 200)  # and not only refusals
