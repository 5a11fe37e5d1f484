"""The page of pairs in a real Chromium, before the real service: what a person does with it, and what it never does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from mining.sets.decisions import read_decisions
from retrieval.service.settings import Settings
from tests.mining.pages.conftest import MARKUP, PAIRS, ServePairs


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decisions") / "decisions.jsonl"


@pytest.fixture(scope="module")
def url(serve_pairs: ServePairs, decisions: Path) -> Iterator[str]:
    with serve_pairs(decisions) as url:
        yield f"{url}/page/pairs/"


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(items(page).first).to_be_visible()


def items(page: Page) -> Locator:
    return page.locator(".pair")


def item(page: Page, set_id: str) -> Locator:
    return page.locator(f'.pair[data-set="{set_id}"]')


def status(page: Page) -> Locator:
    return page.get_by_role("status")


def rejected(decisions: Path) -> set[tuple[str, ...]]:
    """The rows of the rejected sets, as text."""
    return {tuple(ref.rpartition("/")[2] for ref in refs) for refs in read_decisions(decisions).rejected}


def test_a_pair_is_shown_side_by_side_with_its_reasons_and_similarity(page: Page, url: str) -> None:
    open_page(page, url)
    expect(status(page)).to_have_text(f"20 of {PAIRS + 4} sets.")
    expect(page.locator("#store")).to_contain_text("70 pictures")
    pair = item(page, "0_1")
    left, right = (pair.locator("figure").nth(at).bounding_box() for at in (0, 1))
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    for image in pair.locator("img").all():
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") == 60
    expect(pair).to_contain_text("overlap")
    expect(pair).to_contain_text("level 2")
    expect(pair.locator("dd")).to_have_text(["0.250", "0.750"])
    expect(pair.locator(".reasons li")).to_have_text(["share 2 nouns: dog, ball"])
    assert pair.locator("mark").all_text_contents() == ["dogs", "ball", "Ball", "dog"]


def test_a_story_is_shown_with_all_its_images_in_order(page: Page, url: str) -> None:
    open_page(page, f"{url}#strategy=identity")
    story = item(page, "5_4_3")
    assert [each.get_attribute("data-row") for each in story.locator("figure").all()] == ["5", "4", "3"]
    expect(story).to_contain_text("entity: Lionel")
    expect(story).to_contain_text("3 images")
    expect(story).to_contain_text("no caption")
    expect(story.locator("dd")).to_have_count(0)


def test_a_filter_that_names_nothing_says_what_there_is(page: Page, url: str) -> None:
    page.goto(f"{url}#split=dev")
    expect(status(page)).to_have_text("No set meets the filters: there is no split 'dev'; there is held-out, train.")


def test_captions_and_reasons_are_text_whatever_they_say(page: Page, url: str) -> None:
    open_page(page, f"{url}#strategy=overlap&level=1")
    pair = item(page, "0_2")
    expect(pair.locator("figcaption").nth(1)).to_have_text(f"Image 2 {MARKUP}")
    expect(pair.locator(".reasons li")).to_have_text(MARKUP)
    assert pair.locator("mark").all_text_contents() == ["dogs", "dog"]
    assert page.title() == "Pairs · Clipmine"
    assert page.locator("img[src=x]").count() == 0


def test_nouns_are_found_in_their_plural_and_not_inside_other_words(page: Page, url: str) -> None:
    open_page(page, url)
    found = page.evaluate(
        """async (asked) => {
            const {marked} = await import("/page/pairs/words.js");
            const text = (piece) => typeof piece === "string" ? piece : `[${piece.textContent}]`;
            return asked.map(([caption, nouns]) => marked(caption, nouns).map(text).join(""));
        }""",
        [
            ["Dogs and a hotdog, a dog-house", ["dog"]],
            ["two women, men and firemen", ["woman", "fireman"]],
            ["cherries on knives by fire-hydrants", ["cherry", "knife", "fire hydrant"]],
            ["a (c++) box [x]", ["c++", "x", "box"]],
            ["ein Hund, Hunde", ["hund"]],
            ["nothing", []],
        ],
    )
    assert found == [
        "[Dogs] and a hotdog, a [dog]-house",
        "two [women], men and [firemen]",
        "[cherries] on [knives] by [fire-hydrants]",
        "a ([c++]) [box] [[x]]",
        "ein [Hund], Hunde",
        "nothing",
    ]


def test_filters_are_in_the_address_and_back_leads_back(page: Page, url: str) -> None:
    open_page(page, url)
    page.get_by_label("Strategy").select_option("overlap")
    expect(items(page)).to_have_count(2)
    expect(status(page)).to_have_text("2 sets, and these are all.")
    page.get_by_label("Level").select_option("2")
    expect(items(page)).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/page/pairs/#strategy=overlap&level=2$"))
    page.reload()
    expect(items(page)).to_have_count(1)
    expect(page.get_by_label("Level")).to_have_value("2")
    page.get_by_label("Strategy").select_option("similar")
    expect(page.get_by_label("Level")).to_have_value("")
    page.go_back()
    expect(item(page, "0_1")).to_be_visible()
    page.get_by_role("searchbox", name="Text").fill("no such words")
    page.keyboard.press("Enter")
    expect(status(page)).to_have_text("No set meets the filters.")


def test_more_are_shown_on_demand(page: Page, url: str) -> None:
    open_page(page, url)
    expect(items(page)).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(items(page)).to_have_count(PAIRS + 4)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    expect(status(page)).to_have_text(f"{PAIRS + 4} sets, and these are all.")


def test_a_rejection_goes_into_the_file_and_is_undone_there(page: Page, url: str, decisions: Path) -> None:
    open_page(page, url)
    pair = item(page, "3_4")
    pair.get_by_role("button", name="Reject").click()
    expect(status(page)).to_have_text("Rejected 3_4; mining and exports leave it out.")
    assert rejected(decisions) == {("3", "4")}
    page.reload()
    expect(pair).to_have_class(re.compile("rejected"))
    page.get_by_label("Decision").select_option("reject")
    expect(items(page)).to_have_count(1)
    pair.get_by_role("button", name="Undo: keep it").click()
    expect(status(page)).to_have_text("Kept 3_4.")
    assert rejected(decisions) == set()


def test_a_decision_that_is_not_taken_is_taken_back_on_the_page(page: Page, url: str) -> None:
    open_page(page, url)

    def refuse(route: Route) -> None:
        route.fulfill(status=500, json={"error": "no space left on the disk"})

    page.route("**/decision", refuse)
    item(page, "0_1").get_by_role("button").click()
    expect(status(page)).to_have_text("no space left on the disk")
    expect(item(page, "0_1").get_by_role("button")).to_have_text("Reject")
    expect(item(page, "0_1")).not_to_have_class(re.compile("rejected"))


def test_keys_go_through_the_pairs_and_reject(page: Page, url: str, decisions: Path) -> None:
    open_page(page, url)
    page.keyboard.press("j")
    expect(items(page).nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(items(page).nth(1)).to_be_focused()
    page.keyboard.press("r")
    expect(status(page)).to_contain_text("Rejected 0_2")
    page.keyboard.press("r")
    expect(status(page)).to_contain_text("Kept 0_2")
    assert rejected(decisions) == set()
    last = json.loads(decisions.read_text().splitlines()[-1])
    assert (last["set_id"], last["decision"]) == ("0_2", "keep")
    items(page).nth(19).focus()
    page.keyboard.press("j")
    expect(items(page).nth(20)).to_be_focused()
    page.get_by_role("searchbox", name="Text").fill("")
    page.keyboard.type("jkr")
    expect(page.get_by_role("searchbox", name="Text")).to_have_value("jkr")


def test_every_image_and_every_control_has_a_name(page: Page, url: str) -> None:
    open_page(page, url)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "searchbox", "combobox", "image", "list", "listitem"}
    shown = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    inside = {"listitem"}  # reasons are items whose text is read; pairs have names
    assert not [role for role, name in shown if role in roles - inside and not name.strip() and role != "list"]
    assert page.locator("img:not([alt])").count() == 0
    assert page.get_by_role("heading", level=1).count() == 1
    page.get_by_role("link", name="Skip to the pairs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    left, right = (item(page, "0_1").locator("figure").nth(at).bounding_box() for at in (0, 1))
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"], "side by side on a phone too"
    button = item(page, "0_1").get_by_role("button").bounding_box()
    assert button is not None
    assert button["height"] >= 40


def test_no_request_leaves_the_origin_and_no_policy_is_wider_than_the_other_pages(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_page(page, url)
    origin = url.removesuffix("/page/pairs/")
    assert [other for other in asked if not other.startswith((f"{origin}/", "data:", "blob:"))] == []
    policies = [httpx.get(f"{origin}{path}").headers["Content-Security-Policy"] for path in ("/", "/page/pairs/")]
    assert policies[1] == policies[0].replace("base-uri 'none'", "base-uri 'self'")
    assert httpx.get(f"{origin}/page/pairs/routes.py").status_code == 404


def test_the_search_page_leads_to_the_pairs_and_back(page: Page, url: str) -> None:
    page.goto(url.removesuffix("page/pairs/"))
    page.get_by_role("link", name="Pairs").click()
    expect(status(page)).to_have_text(f"20 of {PAIRS + 4} sets.")
    page.get_by_role("link", name="Search").click()
    expect(page.get_by_role("searchbox", name="Search by words")).to_be_visible()


def test_a_service_with_tokens_is_asked_with_the_one_that_is_typed_in(
    page: Page, serve_pairs: ServePairs, tmp_path: Path
) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    with serve_pairs(tmp_path / "decisions.jsonl", Settings(tokens=("a-token",))) as url:
        page.goto(f"{url}/page/pairs/")
        page.get_by_label("Access token").fill("a-token")
        page.keyboard.press("Enter")
        image = item(page, "0_1").locator("img").first
        expect(image).to_have_attribute("src", re.compile("^blob:"))
        item(page, "0_1").get_by_role("button").click()
        expect(status(page)).to_contain_text("Rejected 0_1")
        assert not [request.url for request in sent if "a-token" in request.url]
    assert rejected(tmp_path / "decisions.jsonl") == {("0", "1")}
