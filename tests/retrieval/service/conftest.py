"""What the tests of the service share: an HTTP client, and a browser for its page."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.browser import browser, page

__all__ = ["browser", "page"]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    """An HTTP client of `url`, the served store with the default settings."""
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client
