"""The page for people who use a keyboard, a screen reader, little contrast or a phone."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.retrieval.service.page_steps import (
    column,
    retrieve_concepts,
    row_ids,
    search,
    status,
)


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
