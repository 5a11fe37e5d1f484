"""The page before a service that wants a token, is busy, is gone, or lacks something."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from retrieval.service.settings import Settings
from tests.retrieval.service.page_steps import (
    column,
    retrieve_concepts,
    search,
    status,
    words,
)
from tests.serving import Serve

TOKEN = "a-token.of_the~tests"


def test_a_service_with_tokens_is_asked_with_the_one_that_is_typed_in(
    page: Page, serve: Serve, served_store: EmbeddingStore
) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    with serve(served_store, Settings(tokens=(TOKEN,))) as url:
        page.goto(f"{url}/#q=a+red+circle&k=5")
        field = page.get_by_label("Access token")
        expect(field).to_be_focused()
        field.fill("wrong")
        page.keyboard.press("Enter")
        expect(status(page)).to_contain_text("did not accept")
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(status(page)).to_contain_text("Found 5 pictures and 5 captions")
        expect(field).to_be_hidden()
        picture = column(page, "Pictures").locator("img").first
        expect(picture).to_have_attribute("src", re.compile("^blob:"))
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") > 0
        assert page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
        assert not [request.url for request in sent if TOKEN in request.url]
        page.reload()
        expect(status(page)).to_contain_text("Found 5 pictures and 5 captions")


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_service_is_asked_again_after_the_time_it_names(page: Page, url: str, code: int) -> None:
    refused: list[str] = []

    def busy_once(route: Route) -> None:
        if len(refused) >= 2:
            route.fallback()
            return
        refused.append(route.request.url)
        route.fulfill(status=code, headers={"Retry-After": "1"}, json={"error": "too many wait"})

    page.route("**/search", busy_once)
    page.goto(f"{url}/#q=a+red+circle")
    expect(status(page)).to_contain_text("busy; trying again in 1 s")
    expect(status(page)).to_contain_text("Found 20 pictures and 20 captions")


def test_a_service_that_stays_busy_is_not_asked_for_ever(page: Page, url: str) -> None:
    asked: list[str] = []

    def busy(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "too many requests wait for a search"})

    page.route("**/search", busy)
    page.goto(f"{url}/#q=a+red+circle")
    expect(status(page)).to_have_text("too many requests wait for a search")
    assert len(asked) == 6  # three times for pictures, three times for captions


def test_a_service_that_is_gone_is_one_clear_line(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#store")).to_contain_text("33 pictures")
    page.context.set_offline(True)
    words(page).fill("a red circle")
    page.keyboard.press("Enter")
    expect(status(page)).to_have_text("The service cannot be reached; check the connection and try again.")


def test_a_partial_answer_says_what_is_missing(page: Page, url: str) -> None:
    def without_a_shard(route: Route) -> None:
        answer = route.fetch().json()
        route.fulfill(json={**answer, "partial": True, "missing": ["0003"]})

    page.route("**/search", without_a_shard)
    page.goto(f"{url}/#q=a+red+circle")
    expect(status(page)).to_contain_text("The answer is partial: no answer from 0003.")
    expect(page.locator("#by-image .card")).to_have_count(20)


def test_a_store_without_captions_and_images_shows_placeholders_in_one_column(
    page: Page, served_store: EmbeddingStore, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(served_store.path, folder)
    shutil.rmtree(folder / "index")
    manifest = read_manifest(str(folder))
    parts = [
        replace(part, files={"image": part.files["image"], "metadata": part.files["metadata"]})
        for part in manifest.parts
    ]
    write_manifest(str(folder), replace(manifest, parts=tuple(parts), corpus_root=None))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with serve(EmbeddingStore.open(folder)) as url:
        search(page, url)
        expect(column(page, "Captions")).to_be_hidden()
        tile = column(page, "Pictures").get_by_role("button", name=re.compile("More like this: a .* (circle|square)"))
        expect(tile).to_have_count(20)
        expect(tile.first.locator(".instead")).to_be_visible()
        retrieve_concepts(page, url)
        expect(page.get_by_role("combobox", name="Search", exact=True)).to_have_count(0)
    assert not [address for address in asked if "/image" in address]
