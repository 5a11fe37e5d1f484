"""The page's search in a real Chromium, with the real service behind it."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from index.files import read_bytes
from index.store.embedding_store import EmbeddingStore
from tests.retrieval.service.page_steps import (
    column,
    number,
    retrieve_concepts,
    row_ids,
    search,
    searched,
    status,
    words,
)


def test_what_is_typed_before_the_page_knows_its_store_stays(page: Page, url: str) -> None:
    waiting: list[Route] = []
    page.route("**/indexes*", lambda route: waiting.append(route))
    with page.expect_request("**/indexes*"):
        page.goto(url)
    words(page).fill("a red circle")
    waiting[0].continue_()
    expect(page.locator("#store")).to_contain_text("pictures")
    expect(words(page)).to_have_value("a red circle")
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Found")


def test_words_are_answered_by_pictures_and_by_captions_side_by_side(page: Page, url: str) -> None:
    search(page, url)
    pictures, captions = column(page, "Pictures"), column(page, "Captions")
    assert row_ids(pictures) == searched(url, text="a red circle")
    assert row_ids(captions) == searched(url, text="a red circle", modality="text")
    left, right = pictures.bounding_box(), captions.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    assert left["y"] == right["y"]


def test_a_result_shows_picture_caption_score_key_and_near_duplicates(page: Page, url: str) -> None:
    search(page, url)
    body = {"queries": [{"text": "a red circle"}], "k": 20, "mark_duplicates": 0.94}
    rows = httpx.post(f"{url}/search", json=body, timeout=20).json()["results"][0]["rows"]
    ranks = {row["row_id"]: rank for rank, row in enumerate(rows, 1)}
    assert any(row["near_duplicates"] for row in rows), "the corpus has near-duplicates to show"
    for item, row in zip(column(page, "Pictures").get_by_role("listitem").all(), rows, strict=True):
        text = item.inner_text()
        assert row["caption"] in text
        assert f"{row['score']:.3f}" in text
        assert row["key"] in text
        same = sorted(ranks[other] for other in row["near_duplicates"] if other in ranks)
        assert [int(link.inner_text()) for link in item.locator(".near button").all()] == same
    picture = column(page, "Pictures").locator("img").first
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_the_address_keeps_a_search_and_back_returns_to_it(page: Page, url: str) -> None:
    search(page, url, "a red circle")
    number(page, "Minimum score").fill("-1")
    number(page, "Results").fill("5")
    number(page, "Duplicates from").fill("0.99")
    words(page).fill("ein & zwei = #3")
    page.keyboard.press("Enter")
    expect(page.locator("#by-image .card")).to_have_count(5)
    shared = page.url
    page.go_back()
    expect(words(page)).to_have_value("a red circle")
    expect(page.locator("#by-image .card")).to_have_count(20)
    assert row_ids(column(page, "Pictures")) == searched(url, text="a red circle")
    page.goto("about:blank")
    page.goto(shared)
    expect(page.locator("#by-image .card")).to_have_count(5)
    expect(words(page)).to_have_value("ein & zwei = #3")
    expect(number(page, "Minimum score")).to_have_value("-1")
    expect(number(page, "Duplicates from")).to_have_value("0.99")


def test_filters_leave_out_results_and_the_page_says_so(page: Page, url: str) -> None:
    page.goto(url)
    number(page, "Minimum side, px").fill("5000")
    words(page).fill("a red circle")
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Found 0 pictures and 0 captions")
    expect(column(page, "Pictures")).to_contain_text("Nothing meets the filters")


def test_clicking_a_result_searches_by_it(page: Page, url: str) -> None:
    search(page, url)
    first = row_ids(column(page, "Pictures"))[0]
    column(page, "Pictures").get_by_role("button", name=re.compile("More like this")).first.click()
    expect(page).to_have_url(re.compile(f"row={first}&"))
    expect(page.locator("#query")).to_contain_text("More like")
    expect(status(page)).to_contain_text("Found")
    like_it = [row for row in searched(url, row_id=first) if row != first]
    found = row_ids(column(page, "Pictures"))
    assert first not in found
    assert found[: len(like_it)] == like_it
    page.go_back()
    expect(words(page)).to_have_value("a red circle")


def original(store: EmbeddingStore, row: int) -> bytes:
    found = store.metadata([row], ["shard", "offset", "size"]).to_pylist()[0]
    content = read_bytes(f"{store.corpus_root}/{found['shard']}")
    return content[found["offset"] : found["offset"] + found["size"]]


def test_an_image_file_is_searched_by(page: Page, url: str, served_store: EmbeddingStore) -> None:
    page.goto(url)
    chosen = {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": original(served_store, 7)}
    page.get_by_label("Search by an image").set_input_files(chosen)  # type: ignore[arg-type]
    expect(status(page)).to_contain_text("Found")
    expect(page.locator("#query")).to_contain_text("mine.jpg")
    best = column(page, "Pictures").get_by_role("listitem").first
    expect(best).to_contain_text("1.000")
    assert 7 in row_ids(column(page, "Pictures"))


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_an_image_is_taken_from_the_clipboard_and_by_drag_and_drop(
    page: Page, url: str, served_store: EmbeddingStore, way: str
) -> None:
    page.goto(url)
    expect(page.locator("#store")).to_contain_text("33 pictures")
    page.evaluate(
        """([bytes, way]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "given.jpg", {type: "image/jpeg"}));
            const options = {bubbles: true, cancelable: true};
            const dispatch = (event) => document.body.dispatchEvent(event);
            if (way === "paste") dispatch(new ClipboardEvent("paste", {...options, clipboardData: data}));
            else for (const name of ["dragenter", "dragover", "drop"])
                dispatch(new DragEvent(name, {...options, dataTransfer: data}));
        }""",
        [list(original(served_store, 7)), way],
    )
    expect(page.locator("#query")).to_contain_text("given.jpg")
    expect(column(page, "Pictures").get_by_role("listitem").first).to_contain_text("1.000")


def test_what_is_no_image_gets_the_services_own_line(page: Page, url: str) -> None:
    page.goto(url)
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG no picture"}
    page.get_by_label("Search by an image").set_input_files(broken)  # type: ignore[arg-type]
    expect(status(page)).to_have_class("problem")
    expect(status(page)).to_contain_text("image")


def test_no_request_leaves_the_origin(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    search(page, url)
    column(page, "Pictures").get_by_role("button", name=re.compile("More like this")).first.click()
    expect(status(page)).to_contain_text("Found")
    retrieve_concepts(page, url)
    page.get_by_role("button", name="Mark near-duplicates").first.click()
    expect(status(page)).to_contain_text("near-duplicates among them")
    assert len(asked) > 20
    assert [other for other in asked if not other.startswith((f"{url}/", "data:", "blob:"))] == []
