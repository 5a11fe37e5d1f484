"""POST /search: queries of every kind, filters, limits."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval.search.retriever import Retriever


def rows_of(answer: httpx.Response) -> list[list[int]]:
    assert answer.status_code == 200, answer.text
    return [[row["row_id"] for row in result["rows"]] for result in answer.json()["results"]]


class TestQueries:
    def test_texts_give_what_the_retriever_gives(self, client: httpx.Client, served_store: EmbeddingStore) -> None:
        texts = ["a red circle", "a blue square", "a photo of something green"]
        expected = Retriever(served_store).search(texts, 7)
        answer = client.post("/search", json={"queries": [{"text": text} for text in texts], "k": 7})
        assert rows_of(answer) == expected.row_ids.tolist()
        scores = [[row["score"] for row in result["rows"]] for result in answer.json()["results"]]
        assert np.abs(np.array(scores) - expected.scores).max() < 1e-5

    def test_captions_are_searched_by_the_modality_text(self, client: httpx.Client) -> None:
        answer = client.post("/search", json={"queries": [{"text": "a red circle"}], "modality": "text", "k": 1})
        assert answer.json()["results"][0]["rows"][0]["caption"] == "a red circle"

    def test_an_image_finds_itself(self, client: httpx.Client, served_store: EmbeddingStore) -> None:
        data = read_image(served_store, 5)
        by_base64 = client.post("/search", json={"queries": [{"image": base64.b64encode(data).decode()}], "k": 3})
        uploaded = client.post("/search/image?k=3", content=data)
        assert rows_of(by_base64) == rows_of(uploaded)
        assert uploaded.json()["results"][0]["rows"][0]["score"] > 0.999

    def test_embeddings_may_be_numbers_or_bytes_of_any_length(
        self, client: httpx.Client, served_store: EmbeddingStore
    ) -> None:
        vector = served_store.gather("image", [4])[0].astype("<f4") * 3
        packed = base64.b64encode(vector.tobytes()).decode()
        queries = [{"embedding": vector.tolist()}, {"embedding_b64": packed}]
        first, second = rows_of(client.post("/search", json={"queries": queries, "k": 5}))
        assert first == second

    def test_a_row_is_not_its_own_result(self, client: httpx.Client) -> None:
        (found,) = rows_of(client.post("/search", json={"queries": [{"row_id": 4}], "k": 6}))
        assert len(found) == 6
        assert 4 not in found

    def test_a_text_longer_than_the_context_is_told(self, client: httpx.Client) -> None:
        queries = [{"text": "short"}, {"text": "word " * 100}]
        answer = client.post("/search", json={"queries": queries, "k": 1}).json()
        assert [result["text_cut"] for result in answer["results"]] == [False, True]


class TestFilters:
    def test_a_column_filter_goes_as_deep_as_it_must(self, client: httpx.Client, served_store: EmbeddingStore) -> None:
        captions = served_store.metadata(range(served_store.rows), ["caption"]).column("caption").to_pylist()
        wanted = {row for row, caption in enumerate(captions) if "red" in caption}
        filters = {"columns": [{"column": "caption", "op": "contains", "value": "RED"}]}
        body = {"queries": [{"text": "a blue square"}], "k": len(wanted), "filters": filters}
        (found,) = rows_of(client.post("/search", json=body))
        assert set(found) == wanted

    def test_fewer_than_k_is_complete_only_when_all_was_looked_at(self, client: httpx.Client) -> None:
        filters = {"columns": [{"column": "caption", "op": "eq", "value": "nothing like it"}]}
        answer = client.post("/search", json={"queries": [{"text": "x"}], "k": 5, "filters": filters}).json()
        result = answer["results"][0]
        assert (result["rows"], result["searched"], result["complete"]) == ([], 33, True)

    def test_min_score_and_exclude(self, client: httpx.Client) -> None:
        plain = client.post("/search", json={"queries": [{"row_id": 0}], "k": 10}).json()["results"][0]["rows"]
        floor, gone = plain[4]["score"], plain[0]["row_id"]
        body = {"queries": [{"row_id": 0}], "k": 10, "filters": {"min_score": floor - 1e-6, "exclude": [gone]}}
        (found,) = rows_of(client.post("/search", json=body))
        assert found == [row["row_id"] for row in plain[1:5]]

    def test_near_duplicates_are_dropped_or_marked(self, client: httpx.Client) -> None:
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
    def test_a_condition_that_cannot_be_is_an_error(self, client: httpx.Client, condition: dict[str, object]) -> None:
        body = {"queries": [{"text": "x"}], "filters": {"columns": [condition]}}
        answer = client.post("/search", json=body)
        assert answer.status_code == 400
        assert "\n" not in answer.json()["error"]


class TestLimits:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"queries": []}, 422),
            ({"queries": [{}]}, 422),
            ({"queries": [{"text": "x", "row_id": 1}]}, 422),
            ({"queries": [{"text": "x"}], "kk": 3}, 422),
            ({"queries": [{"text": "x"}], "k": 0}, 422),
            ({"queries": [{"text": "x"}], "k": 34}, 400),
            ({"queries": [{"text": "x"}] * 600}, 400),
            ({"queries": [{"row_id": 33}]}, 404),
            ({"queries": [{"embedding": [1.0]}]}, 400),
            ({"queries": [{"embedding": [0.0] * 16}]}, 400),
            ({"queries": [{"image": "not base64!"}]}, 400),
            ({"queries": [{"image": "aGVsbG8="}]}, 400),
            ({"queries": [{"image_url": "http://example.org/x.jpg"}]}, 400),
        ],
    )
    def test_each_has_its_status_and_one_line(self, client: httpx.Client, body: dict[str, object], status: int) -> None:
        answer = client.post("/search", json=body)
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["error"]
        assert "\n" not in answer.json()["error"]
