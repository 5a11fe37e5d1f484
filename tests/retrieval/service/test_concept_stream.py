"""POST /concepts: the same selection as `clipmine retrieve`, as a stream that can be cancelled."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.service.settings import Settings
from tests.serving import Serve

CONCEPTS = ["red circle", "blue square", "green circle", "purple thing"]


def lines_of(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    with client.stream("POST", "/concepts", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        return [json.loads(line) for line in answer.iter_lines()]


@pytest.mark.parametrize("policy", ["best", "keep-all", "drop"])
@pytest.mark.parametrize("mode", ["t2i", "t2t", "both"])
def test_the_rows_are_those_of_retrieve(
    client: httpx.Client, served_store: EmbeddingStore, tmp_path: Path, policy: Any, mode: Any
) -> None:
    rules = Rules(cross_concept=policy, near_duplicates=0.97, per_concept=6)
    selection = retrieve(served_store, CONCEPTS, out=tmp_path / "s", mode=mode, k=5, rules=rules)
    asked = {"cross_concept": policy, "near_duplicates": 0.97, "cap": 6}
    lines = lines_of(client, {"concepts": CONCEPTS, "mode": mode, "k": 5, "rules": asked})
    found = [
        (line["name"], row["row_id"], row["mode"], row["rank"], row["prompt"], row["both_ways"], row["caption"])
        for line in lines
        if line["type"] == "concept"
        for row in line["rows"]
    ]
    expected = [
        tuple(row[name] for name in ("concept", "row_id", "mode", "rank", "prompt", "both_ways", "caption"))
        for row in selection
    ]
    assert found == expected
    end = lines[-1]
    assert (end["type"], end["rows"], end["hits"]) == ("end", selection.rows, selection.hits)
    assert {loss["rule"]: loss["rows"] for loss in end["losses"]} == selection.losses
    assert end["hits"] == end["rows"] + sum(loss["rows"] for loss in end["losses"])


def test_progress_reaches_its_total_before_the_end(client: httpx.Client) -> None:
    lines = lines_of(client, {"concepts": CONCEPTS, "k": 3})
    assert [lines[0]["type"], lines[-1]["type"]] == ["start", "end"]
    progress = [line for line in lines if line["type"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 2 * lines[0]["prompts"]
    assert [line["name"] for line in lines if line["type"] == "concept"] == CONCEPTS


def test_a_concept_may_bring_its_vectors(client: httpx.Client, served_store: EmbeddingStore) -> None:
    vectors = served_store.gather("image", [3, 9]).astype("<f4")
    item = {"name": "two rows", "embeddings_b64": base64.b64encode(vectors.tobytes()).decode()}
    lines = lines_of(client, {"concepts": [item], "mode": "t2i", "k": 1})
    (concept,) = (line for line in lines if line["type"] == "concept")
    assert {row["row_id"] for row in concept["rows"]} == {3, 9}


@pytest.mark.parametrize(
    "body",
    [
        {"concepts": ["dog", "Dog"], "k": 1},
        {"concepts": ["  "], "k": 1},
        {"concepts": ["dog"], "k": 1, "templates": ["no place"]},
        {"concepts": ["dog"], "k": 1, "templates": ["/etc/hostname"]},
        {"concepts": [{"name": "dog", "templates": ["no place"]}], "k": 1},
        {"concepts": ["dog"], "k": 34},
        {"concepts": [{"name": "dog", "embeddings_b64": "AAAA"}], "k": 1},
        {"concepts": ["dog"], "k": 1, "columns": ["nothing"]},
    ],
)
def test_what_cannot_be_is_said_before_the_stream(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/concepts", json=body)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


def test_lists_beyond_the_allowed_number_are_refused_and_a_dropped_connection_frees_its_place(
    served_store: EmbeddingStore, serve: Serve
) -> None:
    body = {"concepts": [f"thing {number}" for number in range(2_000)], "k": 30, "templates": ["openai_imagenet"]}
    settings = Settings(concept_jobs=1)
    with serve(served_store, settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", "/concepts", json=body) as answer:
            lines = answer.iter_lines()  # kept: httpx hangs up when it is let go
            assert next(lines)
            refused = client.post("/concepts", json={"concepts": ["dog"], "k": 1})
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
        for _ in range(100):  # the slot is free once the call that runs has ended
            answer = client.post("/concepts", json={"concepts": ["dog"], "k": 1})
            if answer.status_code == 200:
                break
        assert answer.status_code == 200
