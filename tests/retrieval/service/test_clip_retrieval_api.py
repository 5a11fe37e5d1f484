"""clip-retrieval's own API, asked by clip-retrieval's Python client and, in a real Chromium, by its web front."""

from __future__ import annotations

import base64
import functools
import http.server
import importlib.util
import io
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from index.store.store_model import HINT_NAME
from retrieval import Rules, retrieve
from retrieval.search.retriever import Retriever
from retrieval.service.clip_retrieval_api import NOT_HONOURED
from retrieval.service.settings import Settings
from tests.retrieval.stores import forget, make_store, random_unit
from tests.serving import Serve

HEADER = "X-Clipmine-Not-Honoured"
OFF = {"use_safety_model": False, "use_violence_detector": False, "aesthetic_score": "", "deduplicate": False}


@pytest.fixture(scope="session")
def clip_client() -> ModuleType:
    """The module of the installed package. The package's `__init__` imports its servers, which need flask and more."""
    package = importlib.util.find_spec("clip_retrieval")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(next(iter(package.submodule_search_locations))) / "clip_client.py"
    spec = importlib.util.spec_from_file_location("clip_retrieval_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ask(url: str, clip_client: ModuleType) -> Any:
    """Makes a client of the served store: `ask(num_images=5).query(text=...)`."""

    def make(**options: Any) -> Any:
        return clip_client.ClipClient(f"{url}/knn-service", "shapes", **{**OFF, **options})

    return make


def ids(results: list[dict[str, Any]]) -> list[int]:
    return [result["id"] for result in results]


def knn(url: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/knn-service", content=json.dumps({"modality": "image", "num_images": 5, **fields}))


class TestItsPythonClient:
    def test_a_text_gives_the_rows_of_clipmine_retrieve(
        self, ask: Any, served_store: EmbeddingStore, tmp_path: Path
    ) -> None:
        rules = Rules(exact_duplicates=False)
        selection = retrieve(
            served_store, ["a red circle"], out=tmp_path, mode="t2i", k=12, templates="name", rules=rules
        )
        results = ask(num_images=12).query(text="a red circle")
        assert ids(results) == selection.table()["row_id"].to_pylist()
        assert [result["caption"] for result in results] == selection.table()["caption"].to_pylist()
        assert [result["url"] for result in results] == selection.table()["url"].to_pylist()
        similarities = np.array([result["similarity"] for result in results])
        assert np.abs(similarities - selection.table()["score"].to_numpy()).max() < 1e-6

    def test_deduplicated_it_gives_the_rows_of_retrieve_without_near_duplicates(
        self, ask: Any, served_store: EmbeddingStore, tmp_path: Path
    ) -> None:
        rules = Rules(near_duplicates=0.94, exact_duplicates=False)
        selection = retrieve(
            served_store, ["a red circle"], out=tmp_path, mode="t2i", k=30, templates="name", rules=rules
        )
        results = ask(num_images=30, deduplicate=True).query(text="a red circle")
        assert ids(results) == selection.table()["row_id"].to_pylist()
        assert len(results) < 30

    def test_captions_are_searched_by_the_modality_text(
        self, ask: Any, clip_client: ModuleType, served_store: EmbeddingStore
    ) -> None:
        results = ask(num_images=9, modality=clip_client.Modality.TEXT).query(text="a blue square")
        expected = Retriever(served_store).search(["a blue square"], 9, mode="t2t")
        assert ids(results) == expected.row_ids[0].tolist()

    def test_an_image_file_finds_itself(self, ask: Any, served_store: EmbeddingStore, tmp_path: Path) -> None:
        (tmp_path / "shape.jpg").write_bytes(read_image(served_store, 7))
        results = ask(num_images=3).query(image=str(tmp_path / "shape.jpg"))
        assert results[0]["id"] == 7
        assert results[0]["similarity"] > 0.999

    def test_an_embedding_is_a_query(self, ask: Any, served_store: EmbeddingStore) -> None:
        vector = served_store.gather("image", [4])[0].astype(np.float32)
        expected = Retriever(served_store).search(vector[None], 6)
        assert ids(ask(num_images=6).query(embedding_input=vector.tolist())) == expected.row_ids[0].tolist()

    def test_its_default_options_are_answered(self, clip_client: ModuleType, url: str) -> None:
        results = clip_client.ClipClient(f"{url}/knn-service", "shapes").query(text="a red circle")
        assert results
        assert {"id", "similarity", "url", "caption"} <= results[0].keys()

    def test_a_url_is_not_fetched_unless_the_operator_allows_it(self, ask: Any) -> None:
        assert "fetches no URLs" in ask().query(image="http://127.0.0.1:1/cat.jpg")["error"]


class TestWhatCannotBeHonoured:
    def test_it_is_named_in_a_header(self, url: str) -> None:
        on = {"use_mclip": True, "use_safety_model": True, "use_violence_detector": True}
        answer = knn(url, text="a red circle", aesthetic_score=9, aesthetic_weight=0.5, **on)
        assert answer.status_code == 200
        assert answer.headers[HEADER].split(", ") == [*on, "aesthetic_score"]

    @pytest.mark.parametrize(
        "off",
        [{}, {"aesthetic_score": "", "aesthetic_weight": "0.5"}, {"aesthetic_score": 9, "aesthetic_weight": 0}],
        ids=["nothing", "the front's defaults", "no weight"],
    )
    def test_what_is_off_is_not_named(self, url: str, off: dict[str, Any]) -> None:
        assert HEADER not in knn(url, text="a red circle", **off).headers

    def test_more_than_the_most_is_cut_and_said(self, serve: Serve, served_store: EmbeddingStore) -> None:
        with serve(served_store, Settings(max_k=8)) as url:
            answer = knn(url, text="a red circle", num_result_ids=3000)
            assert len(answer.json()) == 8
            assert answer.headers[HEADER] == "num_result_ids (at most 8)"

    def test_more_than_the_store_has_gives_all_its_rows(self, url: str, served_store: EmbeddingStore) -> None:
        answer = knn(url, text="a red circle", num_result_ids=1000)
        assert sorted(ids(answer.json())) == list(range(served_store.rows))
        assert HEADER not in answer.headers


class TestWhatItsFrontAsks:
    def test_results_beyond_num_images_have_an_id_alone_and_metadata_brings_the_rest(self, url: str) -> None:
        results = knn(url, text="a red circle", num_images=2, num_result_ids=6).json()
        assert [set(result) for result in results[2:]] == [{"id", "similarity"}] * 4
        body = json.dumps({"ids": ids(results), "indice_name": "shapes"})
        answer = httpx.post(f"{url}/metadata", content=body).json()
        assert ids(answer) == ids(results)
        assert answer[0]["metadata"] == {name: results[0][name] for name in ("url", "caption")}
        assert httpx.post(f"{url}/metadata", content='{"ids": [], "indice_name": "shapes"}').json() == []

    def test_indices_list_names_the_store(self, url: str) -> None:
        assert httpx.get(f"{url}/indices-list").json() == ["shapes"]

    def test_a_row_without_a_url_brings_its_image(self, serve: Serve, tmp_path: Path) -> None:
        vectors = random_unit(4)
        store = make_store(tmp_path, vectors, urls=[None, "http://example.org/1.jpg", None, None])
        forget(store, [3])
        with serve(store) as url:
            by_row = {row["id"]: row for row in knn(url, embedding_input=vectors[0].tolist()).json()}
            assert set(by_row) == {0, 1, 2}
            # Without the key, not with a null: the front takes any url that is there.
            assert set(by_row[0]) == {"id", "similarity", "caption", "image"}
            assert set(by_row[1]) == {"id", "similarity", "caption", "url"}
            assert Image.open(io.BytesIO(base64.b64decode(by_row[0]["image"]))).size == (24, 16)
            told = httpx.post(f"{url}/metadata", content='{"ids": [3, 0]}').json()
            assert told[0] == {"id": 3, "metadata": {}}
            assert told[1]["metadata"]["image"] == by_row[0]["image"]
            (tmp_path / "corpus/00000.tar").unlink()
            again = {row["id"]: row for row in knn(url, embedding_input=vectors[0].tolist()).json()}
            assert set(again[0]) == {"id", "similarity", "caption"}

    def test_images_of_one_row_again_and_again_are_bounded(self, serve: Serve, tmp_path: Path) -> None:
        with serve(make_store(tmp_path, random_unit(4), urls=[None] * 4), Settings(max_answer_bytes=50_000)) as url:
            assert httpx.post(f"{url}/metadata", json={"ids": [0] * 5}).status_code == 200
            refused = httpx.post(f"{url}/metadata", json={"ids": [0] * 500})
        assert refused.status_code == 413
        assert "the images of 500 rows have more than 50,000 bytes; ask for fewer rows" in refused.json()["error"]


class TestBadRequests:
    @pytest.mark.parametrize(
        ("fields", "status", "says"),
        [
            ({"text": "a", "indice_name": "laion5B"}, 404, "there is 'shapes'"),
            ({}, 400, "give one of text, image, image_url and embedding_input"),
            ({"text": ""}, 400, "give one of"),
            ({"embedding_input": [1.0, 2.0]}, 400, "2 numbers"),
            ({"image": "no base64!"}, 400, "base64"),
            ({"text": "a", "modality": "sound"}, 422, "modality"),
            ({"text": "a", "num_images": 0}, 422, "num_images"),
            ({"text": "a" * 10_001}, 422, "text"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, url: str, fields: dict[str, Any], status: int, says: str) -> None:
        answer = knn(url, **fields)
        assert answer.status_code == status
        assert says in answer.json()["error"]
        assert "\n" not in answer.json()["error"]

    @pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"text": "\\ud800"}'])
    def test_a_body_that_is_no_request(self, url: str, body: bytes) -> None:
        for path in ("/knn-service", "/metadata"):
            assert httpx.post(url + path, content=body).status_code == 422

    def test_metadata_of_a_row_that_is_not_there(self, url: str) -> None:
        answer = httpx.post(f"{url}/metadata", content='{"ids": [0, 33]}')
        assert answer.status_code == 404
        assert "no row 33" in answer.json()["error"]


@pytest.fixture(scope="module")
def front() -> Iterator[str]:
    """The front's files on an origin of their own, as `clip-retrieval front` serves them."""
    package = importlib.util.find_spec("clip_retrieval")
    assert package is not None
    assert package.submodule_search_locations is not None
    build = Path(next(iter(package.submodule_search_locations))).parent / "front/build"
    assert (build / "index.html").exists()

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(build)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose only network is this machine."""
    context = browser.new_context()
    page = context.new_page()
    page.route(lambda url: not url.startswith("http://127.0.0.1:"), lambda route: route.abort())
    yield page
    context.close()


def opened(page: Page, front: str, back: str, **query: str) -> Page:
    page.goto(f"{front}/?{urlencode({'back': back, **query})}")
    return page


def search(page: Page, text: str) -> None:
    page.locator("clip-front #searchBar").fill(text)
    page.locator("clip-front #searchBar").press("Enter")


def test_a_search_shows_the_captions_of_the_nearest_rows(
    page: Page, front: str, serve: Serve, served_store: EmbeddingStore
) -> None:
    nearest = Retriever(served_store).search(["a red circle"], 1).row_ids[0].tolist()
    caption = served_store.metadata(nearest, ["caption"])["caption"][0].as_py()
    with serve(served_store, Settings(cors_origins=(front,))) as url:
        with page.expect_response(f"{url}/knn-service") as answered:
            search(opened(page, front, url), "a red circle")
        assert answered.value.status == 200
        ignored = "use_safety_model, use_violence_detector, num_result_ids (at most 1000)"
        assert answered.value.header_value(NOT_HONOURED) == ignored
        expect(page.locator("clip-front #products figcaption").first).to_have_text(caption)


def test_images_without_a_url_are_shown_by_their_bytes(
    page: Page, front: str, serve: Serve, tmp_path: Path, served_store: EmbeddingStore
) -> None:
    # Vectors far apart: the front asks to leave out near-duplicates.
    store = make_store(
        tmp_path, random_unit(3, served_store.dim), urls=[None] * 3, model=dict(served_store.fingerprint)
    )
    shutil.copy(served_store.path / HINT_NAME, store.path)
    with serve(store, Settings(cors_origins=(front,))) as url:
        search(opened(page, front, url), "a red circle")
        pictures = page.locator("clip-front #products img.pic")
        expect(pictures).to_have_count(3)
        for number in range(3):
            expect(pictures.nth(number)).to_have_js_property("naturalWidth", 24)
