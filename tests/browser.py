"""Chromium for the tests of pages. Import `browser` and `page` into the conftest of the folder that needs them.

A missing browser is a failure, not a skip.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

__all__ = ["browser", "page"]

ARGUMENTS = [
    "--no-sandbox",  # containers have no user namespaces for it, and the pages are our own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
TIMEOUT = 20_000  # milliseconds; a page that is slow on a busy machine is not broken
expect.set_options(timeout=TIMEOUT)


# One a module, not one a session: while it is open, Playwright keeps an event loop running in the main thread, where
# the asyncio.run of other tests would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or "chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page. The test fails when a script fails or the page's Content-Security-Policy refuses something."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message.text) else None)
    yield page
    context.close()
    assert not complaints


def _is_complaint(message: str) -> bool:
    """False for the line that Chromium writes for every HTTP error, which some tests cause on purpose."""
    return "Failed to load resource" not in message
