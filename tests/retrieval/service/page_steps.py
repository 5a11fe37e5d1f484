"""Steps on the service's page that its tests share: searching, retrieving, and finding the parts of the page."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect


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
