"""Annotations and images of several sources on the page of pairs in a real Chromium, and a person who corrects."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mining import ImageSets
from mining.sets.annotation import Turn
from mining.sets.corrections import read_corrections
from tests.mining.made_sets import annotation
from tests.mining.pages.conftest import ELSEWHERE, MARKUP, MISSING, ODD, STORY, ServePairs
from tests.mining.pages.test_page import item, items, open_page, status


@pytest.fixture
def of_many(serve_pairs: ServePairs, joined: ImageSets, tmp_path: Path) -> Iterator[str]:
    """The page of the folder of several sources, with annotations."""
    with serve_pairs(tmp_path / "decisions.jsonl", sets=joined) as url:
        yield f"{url}/page/pairs/"


def test_annotations_are_shown_by_kind_and_annotator_as_text(page: Page, of_many: str) -> None:
    open_page(page, of_many)
    odd = page.locator(".pair").nth(2)
    assert odd.get_attribute("data-set") == ODD
    expect(odd.locator(".annotation .by")).to_have_text(["model", "second", "teacher"])
    expect(odd.locator(".annotation > header .tag")).to_have_text(["comparison", "comparison", "question"])
    expect(odd.locator(".annotation").first.locator(".details")).to_have_text("version 1 · t 0.2")
    turns = odd.locator(".annotation").first.locator(".turn")
    expect(turns).to_have_text(["UserImage 1 Image 2 What differs?", f"AssistantThe beak. {MARKUP}"])
    expect(odd.locator(".annotation").nth(2).locator("dt")).to_have_text(["options", "answer", "scores", "left"])
    expect(odd.locator(".annotation").nth(2).locator(".values li")).to_have_text(["the left one", MARKUP])
    assert page.title() == "Pairs · Clipmine"
    assert page.locator("img[src=x]").count() == 0
    expect(page.locator(".pair").last.locator(".turn")).to_have_text("SystemBe brief.")
    expect(page.locator(".pair").last).to_contain_text("no images")


def test_images_of_every_source_are_shown_or_the_reason(page: Page, of_many: str) -> None:
    open_page(page, of_many)
    for set_id, width in ((ELSEWHERE, 50), (STORY, 24)):
        for image in item(page, set_id).locator("img").all():
            image.scroll_into_view_if_needed()
            expect(image).to_have_js_property("naturalWidth", width)
    expect(item(page, STORY).locator("img")).to_have_count(8)
    missing = item(page, MISSING).locator("figure")
    missing.nth(1).scroll_into_view_if_needed()
    expect(missing.nth(1).locator(".instead")).to_have_text("Image 2: missing")
    expect(missing.nth(0).locator("img")).to_have_attribute("alt", "Image 1: caption of c.jpg")


def test_a_correction_is_stored_and_shown_instead(page: Page, of_many: str, joined: ImageSets) -> None:
    page.goto(f"{of_many}#kind=comparison")
    old = page.get_by_role("article", name="comparison by second")
    old.get_by_role("button", name="Correct").click()
    answer = old.get_by_role("textbox", name="What is said").nth(1)
    expect(old.get_by_role("textbox", name="What is said").nth(0)).to_be_focused()
    answer.fill("The tail in [Image 2], not [Image 9]")
    old.get_by_label("Your name").fill("Ann")
    page.keyboard.press("Enter")
    new = page.get_by_role("article", name="comparison by person:Ann")
    expect(new).to_be_focused()
    expect(new.locator(".turn").nth(1)).to_have_text("AssistantThe tail in Image 2, not [Image 9]")
    expect(status(page)).to_have_text("Corrected; second's annotation stays, replaced by yours.")
    expect(old).to_have_count(0)
    stored = read_corrections(joined.path)[0]
    assert stored.turns == (
        Turn("user", (0, 1, "What differs?")),
        Turn("assistant", ("The tail in ", 1, ", not ", "[Image 9]")),
    )
    assert stored.annotator.name == "person:Ann"
    assert stored.parent == joined.with_annotations()[2].annotations[1].annotation_id
    page.reload()
    expect(new).to_be_visible()
    page.get_by_label("Show replaced annotations").check()
    expect(page).to_have_url(re.compile(r"#kind=comparison&replaced=true$"))
    expect(old).to_contain_text("replaced")
    expect(old.get_by_role("button", name="Correct")).to_have_count(0)
    new.get_by_role("button", name="Correct").click()
    expect(new.get_by_label("Your name")).to_have_value("Ann")


def test_content_is_corrected_field_by_field(page: Page, of_many: str, joined: ImageSets) -> None:
    page.goto(f"{of_many}#kind=question")
    question = page.get_by_role("article", name="question by teacher")
    question.get_by_role("button", name="Correct").click()
    question.get_by_label("options, one a line").fill("left\n\nright")
    question.get_by_label("answer, as JSON").fill("{")
    question.get_by_label("Your name").fill("Bo")
    question.get_by_role("button", name="Save").click()
    said = question.get_by_label("answer, as JSON").evaluate("area => area.validationMessage")
    assert said.startswith("This is not JSON")
    question.get_by_label("answer, as JSON").fill("0")
    question.get_by_role("button", name="Add a turn").click()
    page.keyboard.type("The left one.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("article", name="question by person:Bo")).to_be_focused()
    stored = read_corrections(joined.path)[0]
    assert stored.content == {"options": ["left", "right"], "answer": 0, "scores": {"left": 0.5}}
    assert stored.turns == (Turn("user", ("Which? ", 1)), Turn("assistant", ("The left one.",)))


def test_a_correction_that_is_refused_keeps_what_was_written(page: Page, of_many: str, joined: ImageSets) -> None:
    page.goto(f"{of_many}#annotator=second")
    old = page.get_by_role("article", name="comparison by second")
    old.get_by_role("button", name="Correct").click()
    old.get_by_label("Your name").fill("Ann")
    old.get_by_role("button", name="Save").click()
    expect(status(page)).to_have_text("the correction says the same as the annotation that it corrects")
    expect(old.get_by_role("button", name="Save")).to_be_enabled()
    old.get_by_role("button", name="Remove this turn").nth(1).click()
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(old.get_by_label("Your name")).to_have_value("Ann")
    old.get_by_role("button", name="Cancel").click()
    expect(old).to_be_focused()
    expect(old.locator(".turn")).to_have_count(2)
    assert read_corrections(joined.path) == []
    assert page.locator(".rejected").count() == 0


def test_filters_are_shown_where_the_folder_has_something_to_filter(
    page: Page, of_many: str, serve_pairs: ServePairs, tmp_path: Path
) -> None:
    open_page(page, of_many)
    page.get_by_label("Annotator").select_option("teacher")
    expect(items(page)).to_have_count(1)
    expect(page.locator(".annotation")).to_have_count(1)
    page.get_by_label("Annotator").select_option("")
    page.get_by_label("Difficulty").select_option("0.25 to 0.5")
    expect(page).to_have_url(re.compile(r"#difficulty=0.25-0.5$"))
    expect(items(page)).to_have_count(1)
    with serve_pairs(tmp_path / "others.jsonl") as url:
        open_page(page, f"{url}/page/pairs/")
        expect(page.get_by_label("Split")).to_be_visible()
        expect(page.get_by_label("Annotator")).to_be_hidden()
        expect(page.get_by_label("Show replaced annotations")).to_be_hidden()
        page.get_by_label("Split").select_option("held-out")
        expect(item(page, "0_2")).to_be_visible()
        expect(items(page)).to_have_count(1)


@pytest.mark.parametrize("width", [390, 1280])
def test_annotations_of_any_length_and_direction_stay_inside(
    page: Page, serve_pairs: ServePairs, joined_folder: Path, tmp_path: Path, width: int
) -> None:
    shutil.copytree(joined_folder, tmp_path / "joined")
    sets = ImageSets.open(tmp_path / "joined")
    arabic = "الطائر في الصورة الأولى أصغر"
    texts = ["x" * 5_000, "word " * 2_000, f"{arabic} \u202e evil", "line\n" * 100]
    sets.add_annotations([annotation(STORY, text, annotator=text[:2_000]) for text in texts], "long")
    page.set_viewport_size({"width": width, "height": 844})
    with serve_pairs(tmp_path / "decisions.jsonl", sets=ImageSets.open(sets.path)) as url:
        page.goto(f"{url}/page/pairs/")
        story = item(page, STORY)
        expect(story.locator(".annotation")).to_have_count(5)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(story.get_by_role("button", name="Show all")).to_have_count(3)
        story.get_by_role("button", name="Show all").first.click()
        expect(story.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")
        right = story.locator(".words", has_text=arabic)
        assert right.evaluate("words => getComputedStyle(words).direction") == "rtl"
        for _ in range(5):
            story.get_by_role("button", name="Correct").first.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_text_on_the_cards_can_be_read_in_both_colour_schemes(page: Page, of_many: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        open_page(page, of_many)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 20
        assert [each for each in found if each["contrast"] < 4.5] == [], scheme


CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = numbers(getComputedStyle(each).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(".annotation *, .why *, figcaption *, .instead")]
    .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((each) => {
      const [one, other] = [light(numbers(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
      return { contrast: (one + .05) / (other + .05), text: each.textContent, of: each.className };
    });
}"""
