"""Several stores by name, and newer generations that are opened while the service runs."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from index.errors import BadInput
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from jobs.index_job import run_index
from retrieval.client import Client
from retrieval.service.app import create_app
from retrieval.service.backend import Backend
from retrieval.service.local_backend import LocalBackend, open_backends
from retrieval.service.metrics import Metrics
from retrieval.service.settings import Settings
from retrieval.service.stores import NoSuchStore, Stores
from tests.retrieval.stores import make_store, random_unit
from tests.serving import run_app

SOON = Settings(reload_seconds=0.05)


@pytest.fixture(scope="module")
def two(served_store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service of two stores: "shapes", and "others" of 5 rows and another model."""
    others = make_store(tmp_path_factory.mktemp("others"), random_unit(5), caption=[f"other {n}" for n in range(5)])
    settings = Settings()
    with run_app(create_app(open_backends({"shapes": served_store, "others": others}, settings), settings)) as url:
        yield url


class TestSeveralStores:
    def test_each_route_answers_from_the_store_that_is_named(self, two: str) -> None:
        with httpx.Client(base_url=two, timeout=20) as client:
            body = {"queries": [{"row_id": 0}], "k": 4, "columns": ["caption"]}
            found = client.post("/search?store=others", json=body).json()["results"][0]["rows"]
            assert sorted(row["caption"] for row in found) == ["other 1", "other 2", "other 3", "other 4"]
            assert client.get("/rows/0?store=others").json()["caption"] == "other 0"
            assert client.get("/rows/6?store=others").status_code == 404
            assert client.get("/rows/0/image?store=others").content != client.get("/rows/0/image").content
            image = client.get("/rows/3/image?store=shapes").content
            assert client.post("/search/image?store=shapes&k=1", content=image).status_code == 200
            concepts = {"concepts": ["red circle"], "k": 1, "mode": "t2i"}
            assert client.post("/concepts?store=shapes", json=concepts).status_code == 200
            served = client.get("/indexes?store=others").json()
            assert (served["name"], served["rows"], served["stores"]) == ("others", 5, ["shapes", "others"])

    def test_without_a_name_it_is_the_first(self, two: str) -> None:
        assert httpx.get(f"{two}/indexes").json()["name"] == "shapes"
        assert httpx.post(f"{two}/search", json={"queries": [{"text": "a red circle"}], "k": 9}).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "rows/0"), ("GET", "rows/0/image"), ("GET", "indexes"), ("POST", "search"), ("POST", "search/image"),
         ("POST", "concepts")],
    )  # fmt: skip
    def test_a_wrong_name_is_404_with_those_that_are_there(self, two: str, method: str, path: str) -> None:
        answer = httpx.request(method, f"{two}/{path}?store=nothing")
        said = "no index 'nothing' here; there is 'shapes', 'others'"
        assert (answer.status_code, answer.json()) == (404, {"error": said})

    def test_clip_retrievals_routes_choose_by_indice_name(self, two: str) -> None:
        vector = random_unit(5)[2].astype(float).tolist()
        asked = {"embedding_input": vector, "num_images": 2, "indice_name": "others"}
        found = httpx.post(f"{two}/knn-service", json=asked).json()
        assert (len(found), found[0]["id"], found[0]["caption"]) == (2, 2, "other 2")
        told = httpx.post(f"{two}/metadata", json={"ids": [4], "indice_name": "others"}).json()
        assert told[0]["metadata"]["caption"] == "other 4"
        assert httpx.get(f"{two}/indices-list").json() == ["shapes", "others"]
        wrong = httpx.post(f"{two}/knn-service", json={**asked, "indice_name": "laion5B"})
        assert (wrong.status_code, "there is 'shapes', 'others'" in wrong.json()["error"]) == (404, True)

    def test_a_client_may_be_of_one_store(self, two: str) -> None:
        with Client(two, store="others") as client:
            assert client.indexes().name == "others"
            assert client.row(0)["caption"] == "other 0"
            assert len(client.search([2], k=4).results[0].rows) == 4
        with Client(two, store="nothing") as client, pytest.raises(BadInput, match="no index 'nothing' here"):
            client.indexes()

    def test_metrics_and_readiness_are_those_of_all(self, two: str) -> None:
        shown = httpx.get(f"{two}/metrics").text
        assert 'clipmine_rows{store="shapes"} 33.0' in shown
        assert 'clipmine_rows{store="others"} 5.0' in shown
        ready = httpx.get(f"{two}/readyz", timeout=20)  # the model of "others" is not on this machine
        assert ready.status_code == 503
        assert ready.json()["error"].startswith("others: ")

    def test_two_of_one_name_are_refused(self, served_store: EmbeddingStore) -> None:
        backends = [LocalBackend(served_store, name="a"), LocalBackend(served_store, name="a")]
        with pytest.raises(BadInput, match=r"two stores are called 'a': give them names \(--store NAME=PATH\)"):
            Stores(backends, Settings(), Metrics())


def grown(folder: Path, rows: int) -> EmbeddingStore:
    """FOLDER/store with so many rows; a longer one replaces a shorter one as growth does, with the same first rows."""
    beside = folder / f"with-{rows}"
    beside.mkdir()
    made = make_store(beside, random_unit(rows), parts=1, caption=[f"row {number}" for number in range(rows)])
    if not (folder / "store").exists():
        shutil.move(made.path, folder / "store")
    else:
        for file in sorted(made.path.rglob("*"), key=lambda path: path.name == "manifest.json"):
            if file.is_file():
                (made.path / file).replace(folder / "store" / file.relative_to(made.path))
    return EmbeddingStore.open(folder / "store")


def generation(url: str) -> str:
    found = re.search(r'clipmine_generation{generation="(\w+)",store="store"} 1', httpx.get(f"{url}/metrics").text)
    assert found is not None
    return found[1]


def wait_for_other(url: str, before: str) -> str:
    end = time.monotonic() + 30
    while (now := generation(url)) == before:
        assert time.monotonic() < end, "the newer generation was not opened"
        time.sleep(0.02)
    return now


class TestGenerations:
    def test_a_grown_store_and_a_new_index_are_served_without_a_restart(self, tmp_path: Path) -> None:
        store = grown(tmp_path, 20)
        with run_app(create_app(LocalBackend(store, settings=SOON), SOON)) as url:
            first = generation(url)
            assert httpx.get(f"{url}/rows/30").status_code == 404
            grown(tmp_path, 40)
            second = wait_for_other(url, first)
            assert httpx.get(f"{url}/rows/30").json()["caption"] == "row 30"
            run_index(IndexConfig(store=str(store.path)))
            wait_for_other(url, second)
            served = httpx.get(f"{url}/indexes").json()
            assert (served["rows"], served["indexes"][0]["kind"]) == (40, "hnsw")
            assert served["generation"] == generation(url)
            answer = httpx.post(f"{url}/search", json={"queries": [{"row_id": 30}], "k": 39, "method": "hnsw"})
            assert {row["row_id"] for row in answer.json()["results"][0]["rows"]} == set(range(40)) - {30}
            assert 'clipmine_reopened_total{outcome="opened",store="store"} 2.0' in httpx.get(f"{url}/metrics").text

    def test_a_request_in_progress_ends_on_the_generation_that_it_began_with(self, tmp_path: Path) -> None:
        store = grown(tmp_path, 20)
        backend = LocalBackend(store, settings=SOON)
        searched, entered, may_go_on = backend.search, threading.Event(), threading.Event()

        async def search(*given: Any, **named: Any) -> Any:
            entered.set()
            await asyncio.to_thread(may_go_on.wait, 30)
            return await searched(*given, **named)

        backend.search = search  # type: ignore[method-assign]
        body = {"queries": [{"row_id": 1}], "k": 19}
        with run_app(create_app(backend, SOON)) as url, ThreadPoolExecutor(1) as pool:
            before = generation(url)
            waits = pool.submit(httpx.post, f"{url}/search", json=body, timeout=60)
            try:
                assert entered.wait(30)
                grown(tmp_path, 40)
                wait_for_other(url, before)
                now = httpx.post(f"{url}/search", json={**body, "k": 39}, timeout=30)
                assert len(now.json()["results"][0]["rows"]) == 39
            finally:
                may_go_on.set()
            rows = waits.result().json()["results"][0]["rows"]
            assert {row["row_id"] for row in rows} == set(range(20)) - {1}
            assert [row["caption"] for row in rows] == [f"row {row['row_id']}" for row in rows]

    def test_what_cannot_be_opened_leaves_the_open_generation_and_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = grown(tmp_path, 20)
        manifest = store.path / "manifest.json"
        whole = manifest.read_bytes()
        with run_app(create_app(LocalBackend(store, settings=SOON), SOON)) as url:
            before = generation(url)
            manifest.write_bytes(b"{}")
            end = time.monotonic() + 30
            while 'clipmine_reopened_total{outcome="failed"' not in httpx.get(f"{url}/metrics").text:
                assert time.monotonic() < end
            assert httpx.post(f"{url}/search", json={"queries": [{"row_id": 1}], "k": 3}).status_code == 200
            assert httpx.get(f"{url}/healthz").status_code == 200
            time.sleep(0.3)  # several further looks
            manifest.write_bytes(whole)
            wait_for = time.monotonic() + 30
            while "opened" not in httpx.get(f"{url}/metrics").text:
                assert time.monotonic() < wait_for
            assert generation(url) == before
        said = [record.message for record in caplog.records if "cannot be opened" in record.message]
        assert len(said) == 1, "once, not at every look"
        assert said[0].startswith("store has changed and cannot be opened; the open generation is served: ")

    def test_the_former_generation_is_closed_after_its_last_request(self, tmp_path: Path) -> None:
        async def run() -> None:
            stores = Stores([LocalBackend(grown(tmp_path, 20), settings=SOON)], SOON, Metrics())
            old = stores.get()
            old.take()
            grown(tmp_path, 40)
            await stores.look()
            assert stores.get() is not old
            assert stores.get().backend.store.rows == 40
            await asyncio.sleep(0.05)
            vectors = old.backend.store.gather("image", [3]).astype(np.float32)
            assert (await old.backend.search(vectors, "image", 1)).row_ids.tolist() == [[3]]
            old.give_back()
            await stores.close()
            assert stores._closing == set()

        asyncio.run(run())

    def test_a_service_may_be_told_not_to_look(self, tmp_path: Path) -> None:
        async def run() -> None:
            settings = Settings(reload_seconds=0)
            stores = Stores([LocalBackend(grown(tmp_path, 20), settings=settings)], settings, Metrics())
            await stores.start()
            assert len(stores._watching) == 1, "it looks whether the store is ready, and for nothing else"
            await stores.close()

        asyncio.run(run())


def test_a_store_is_found_by_its_name() -> None:
    class Named:
        name, store = "a", None

    backend: Any = Named()
    stores = Stores([backend], Settings(), Metrics())
    found: Backend = stores.get("a").backend
    assert found is stores.get("").backend is stores.get(None).backend is backend
    with pytest.raises(NoSuchStore, match="no index 'b' here; there is 'a'"):
        stores.get("b")
    stores.shared.close()
