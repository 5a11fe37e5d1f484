"""POST /search: queries of every kind."""

from __future__ import annotations

import base64

import httpx
import numpy as np

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval.search.retriever import Retriever
from retrieval.service.schemas import MOST_TEXT
from retrieval.service.settings import Settings
from tests.serving import Serve


def rows_of(answer: httpx.Response) -> list[list[int]]:
    assert answer.status_code == 200, answer.text
    return [[row["row_id"] for row in result["rows"]] for result in answer.json()["results"]]


def test_texts_give_what_the_retriever_gives(client: httpx.Client, served_store: EmbeddingStore) -> None:
    texts = ["a red circle", "a blue square", "a photo of something green"]
    expected = Retriever(served_store).search(texts, 7)
    answer = client.post("/search", json={"queries": [{"text": text} for text in texts], "k": 7})
    assert rows_of(answer) == expected.row_ids.tolist()
    scores = [[row["score"] for row in result["rows"]] for result in answer.json()["results"]]
    assert np.abs(np.array(scores) - expected.scores).max() < 1e-5


def test_captions_are_searched_by_the_modality_text(client: httpx.Client) -> None:
    answer = client.post("/search", json={"queries": [{"text": "a red circle"}], "modality": "text", "k": 1})
    assert answer.json()["results"][0]["rows"][0]["caption"] == "a red circle"


def test_an_image_finds_itself(client: httpx.Client, served_store: EmbeddingStore) -> None:
    data = read_image(served_store, 5)
    by_base64 = client.post("/search", json={"queries": [{"image": base64.b64encode(data).decode()}], "k": 3})
    uploaded = client.post("/search/image?k=3", content=data)
    assert rows_of(by_base64) == rows_of(uploaded)
    assert uploaded.json()["results"][0]["rows"][0]["score"] > 0.999


def test_embeddings_may_be_numbers_or_bytes_of_any_length(client: httpx.Client, served_store: EmbeddingStore) -> None:
    vector = served_store.gather("image", [4])[0].astype("<f4") * 3
    packed = base64.b64encode(vector.tobytes()).decode()
    queries = [{"embedding": vector.tolist()}, {"embedding_b64": packed}]
    first, second = rows_of(client.post("/search", json={"queries": queries, "k": 5}))
    assert first == second


def test_an_embedding_beyond_float32_is_refused_in_one_line(client: httpx.Client) -> None:
    answer = client.post("/search", json={"queries": [{"embedding": [1e300] * 16}]})
    assert (answer.status_code, answer.json()["error"][:42]) == (400, "query 0: the embedding is zero or not fini")


def test_a_row_is_not_its_own_result(client: httpx.Client) -> None:
    (found,) = rows_of(client.post("/search", json={"queries": [{"row_id": 4}], "k": 6}))
    assert len(found) == 6
    assert 4 not in found


def test_a_text_longer_than_the_context_is_told(client: httpx.Client) -> None:
    queries = [{"text": "short"}, {"text": "word " * 100}, {"text": " " * MOST_TEXT + "word"}]
    answer = client.post("/search", json={"queries": queries, "k": 1}).json()
    assert [result["text_cut"] for result in answer["results"]] == [False, True, True]


def test_queries_of_all_kinds_are_answered_in_their_order(client: httpx.Client, served_store: EmbeddingStore) -> None:
    vector = served_store.gather("image", [4])[0].astype("<f4")
    image = base64.b64encode(read_image(served_store, 5)).decode()
    queries = [{"image": image}, {"row_id": 9}, {"text": "a red circle"}, {"embedding": vector.tolist()}]
    alone = [rows_of(client.post("/search", json={"queries": [query], "k": 4}))[0] for query in queries]
    assert rows_of(client.post("/search", json={"queries": queries, "k": 4})) == alone


def test_images_in_the_request_are_read_before_any_url_is_fetched(served_store: EmbeddingStore, serve: Serve) -> None:
    limits = Settings(allow_urls=True, max_image_bytes=1_000)
    url = {"image_url": "http://127.0.0.1/"}
    with serve(served_store, limits) as place, httpx.Client(base_url=place, timeout=20) as client:
        for image, says in (("?", "the image is not base64"), ("A" * 2_000, "the image has more than 1,000 bytes")):
            answer = client.post("/search", json={"queries": [url, {"image": image}], "k": 1})
            assert answer.json()["error"] == f"query 1: {says}"
