from __future__ import annotations

import io
import shutil
from pathlib import Path

import httpx
from PIL import Image

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval.selection import store_identity
from retrieval.service.metrics import Metrics
from retrieval.service.routes import answer_json
from retrieval.service.schemas import SearchResponse
from retrieval.service.search import Answer, Answered
from tests.retrieval.stores import forget, make_store, random_unit
from tests.serving import Serve

TEXT = {"queries": [{"text": "a red circle"}], "k": 2}


def test_forgotten_rows_are_gone_at_once(served_store: EmbeddingStore, tmp_path: Path, serve: Serve) -> None:
    folder = tmp_path / "store"
    shutil.copytree(served_store.path, folder)
    with serve(folder) as url, httpx.Client(base_url=url) as client:
        first = client.post("/search", json={**TEXT, "k": 1}).json()["results"][0]["rows"][0]["row_id"]
        assert client.get(f"/rows/{first}/image").status_code == 200
        forget(EmbeddingStore.open(folder), [first])
        again = client.post("/search", json={**TEXT, "k": 20}).json()["results"][0]["rows"]
        assert first not in [row["row_id"] for row in again]
        assert [client.get(f"/rows/{first}{end}").status_code for end in ("", "/image", "/image?side=64")] == [404] * 3
        assert client.post("/search", json={"queries": [{"row_id": first}]}).status_code == 404


def test_captions_are_data(tmp_path: Path, serve: Serve) -> None:
    nasty = "</script><script>alert(1)</script>\u2028=HYPERLINK(1)"
    store = make_store(tmp_path, random_unit(2), caption=[nasty] * 2)
    with serve(store) as url:
        answer = httpx.get(f"{url}/rows/0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["caption"] == nasty


class TestRows:
    def test_a_row_brings_the_columns_that_are_named(self, client: httpx.Client) -> None:
        assert set(client.get("/rows/3").json()) == {"row_id", "key", "shard", "caption", "url", "width", "height"}
        assert set(client.get("/rows/3?columns=key,sha256").json()) == {"row_id", "key", "sha256"}
        assert {"captions", "extra", "offset"} <= set(client.get("/rows/3?columns=*").json())
        assert client.get("/rows/3?columns=colour").status_code == 400

    def test_an_image_is_the_original_or_a_thumbnail(self, client: httpx.Client, served_store: EmbeddingStore) -> None:
        whole = client.get("/rows/3/image")
        assert whole.content == read_image(served_store, 3)
        assert whole.headers["content-disposition"] == "inline"
        small = Image.open(io.BytesIO(client.get("/rows/3/image?side=16").content))
        assert (small.format, max(small.size)) == ("JPEG", 16)
        assert client.get("/rows/3/image?side=5000").status_code == 422


def test_what_is_served_is_described(client: httpx.Client, served_store: EmbeddingStore) -> None:
    served = client.get("/indexes").json()
    assert (served["name"], served["rows"], served["dim"]) == ("shapes", 33, 16)
    assert served["identity"] == store_identity(served_store)
    assert [index["modality"] for index in served["indexes"]] == ["image", "text"]
    assert served["pages"] == []


def test_health_and_readiness(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_an_upload_without_bytes_is_refused(client: httpx.Client) -> None:
    answer = client.post("/search/image", content=b"")
    assert (answer.status_code, answer.json()["error"]) == (400, "the body is empty: send an image file's bytes")


def test_a_partial_answer_names_its_shards_and_is_counted() -> None:
    metrics = Metrics()
    row = Answered([3], [0.25], [b',"key":"k3"'], [[5]], False, 9, True)
    found = SearchResponse.model_validate_json(answer_json(Answer([row], "hnsw: why", ("image/2",)), metrics))
    assert (found.partial, found.missing, found.plan) == (True, ["image/2"], "hnsw: why")
    assert found.results[0].rows[0].model_dump() == {"row_id": 3, "score": 0.25, "near_duplicates": [5], "key": "k3"}
    assert b"clipmine_partial_answers_total 1.0" in metrics.text()
