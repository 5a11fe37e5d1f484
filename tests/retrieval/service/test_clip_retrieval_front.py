"""clip-retrieval's own web front, as its package ships it, in a real Chromium, with this service as its back-end."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from index.store.embedding_store import EmbeddingStore
from index.store.store_model import HINT_NAME
from retrieval.search.retriever import Retriever
from retrieval.service.clip_retrieval_api import NOT_HONOURED
from retrieval.service.settings import Settings
from tests.retrieval.stores import make_store, random_unit
from tests.serving import Serve


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
