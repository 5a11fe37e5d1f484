"""The page of a service with several stores: one is chosen, and everything is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from index.store.embedding_store import EmbeddingStore
from index.store.store_model import HINT_NAME
from retrieval.service.app import create_app
from retrieval.service.local_backend import open_backends
from retrieval.service.settings import Settings
from tests.retrieval.service.page_steps import column, retrieve_concepts, search, status, words
from tests.retrieval.stores import make_store, random_unit
from tests.serving import run_app


@pytest.fixture(scope="module")
def two(served_store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service of "shapes" and of "few & far", 3 rows by the same model without text embeddings."""
    store = make_store(
        tmp_path_factory.mktemp("few"), random_unit(3, served_store.dim), model=dict(served_store.fingerprint),
        caption=["first of few", "second of few", "third of few"],
    )  # fmt: skip
    Path(store.path / HINT_NAME).write_bytes((served_store.path / HINT_NAME).read_bytes())
    settings = Settings()
    backends = open_backends({"shapes": served_store, "few & far": store}, settings)
    with run_app(create_app(backends, settings)) as url:
        yield url


def choose(page: Page, name: str) -> None:
    page.get_by_label("Store", exact=True).select_option(name)


def test_the_chosen_store_is_searched_and_its_pictures_are_shown(page: Page, two: str) -> None:
    search(page, two)
    expect(column(page, "Pictures").locator(".card")).to_have_count(20)
    choose(page, "few & far")
    expect(column(page, "Pictures").locator(".card")).to_have_count(3)
    expect(words(page)).to_have_value("a red circle")
    expect(page.locator("#store")).to_have_text("3 pictures")
    expect(column(page, "Captions")).to_be_hidden()
    picture = column(page, "Pictures").locator("img").first
    expect(picture).to_have_js_property("naturalWidth", 24)
    assert "store=few" in str(picture.get_attribute("src"))
    column(page, "Pictures").get_by_role("button", name="More like this").first.click()
    expect(status(page)).to_contain_text("Found 2 pictures")
    page.go_back()
    expect(column(page, "Pictures").locator(".card")).to_have_count(3)
    page.go_back()
    expect(column(page, "Pictures").locator(".card")).to_have_count(20)
    expect(page.get_by_label("Store", exact=True)).to_have_value("shapes")


def test_a_concept_list_goes_with_its_store(page: Page, two: str) -> None:
    retrieve_concepts(page, two)
    choose(page, "few & far")
    expect(page.locator("#concept-rows .concept")).to_have_count(0)
    expect(page.locator("#mode")).to_be_hidden()
    page.get_by_role("button", name="Retrieve").click()
    expect(status(page)).to_contain_text("Done:")
    expect(page.locator("#concept-rows .card").first).to_contain_text("of few")
    page.get_by_role("link", name="Search").click()
    expect(page.get_by_label("Store", exact=True)).to_have_value("few & far")


def test_a_store_that_is_not_there_is_said_and_others_are_offered(page: Page, two: str) -> None:
    page.goto(f"{two}/#q=a+red+circle&store=nothing")
    expect(status(page)).to_contain_text("no index 'nothing' here; there is 'shapes', 'few & far'")
    choose(page, "shapes")
    expect(status(page)).to_contain_text("Found")


def test_a_service_of_one_store_offers_no_choice(page: Page, url: str) -> None:
    search(page, url)
    expect(page.locator("#choice")).to_be_hidden()
    assert "store=" not in page.url
