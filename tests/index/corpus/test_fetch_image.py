"""One image from a real server: as a browser would ask, within limits of time and size, and nothing but images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import pytest

from index.corpus.download_status import failure_reason
from index.corpus.fetch_image import FetchFailed, FetchLimits, fetch_image
from tests.index.web import Web, photo_for, serve

SHORT = FetchLimits(silence_seconds=0.5, response_seconds=1, max_bytes=10_000, max_wait=0)
LONG = FetchLimits()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serve(delay=3) as found:
        yield found


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def reason_of(url: str, limits: FetchLimits = LONG) -> str:
    with pytest.raises(FetchFailed) as caught:
        fetch_image(url, limits)
    assert "\n" not in str(caught.value)
    return failure_reason("failed_to_download", str(caught.value))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/ok/1.jpg#part", "/ok/1.jpg"),
        ("/ok/two words.jpg", "/ok/two%20words.jpg"),
        ("/ok/Zürich.jpg?ü=東", "/ok/Z%C3%BCrich.jpg?%C3%BC=%E6%9D%B1"),
        ("/ok/a%20b.jpg \n", "/ok/a%20b.jpg"),
        ("/zip/1.jpg", "/zip/1.jpg"),
        ("/cookie/1.jpg", "/cookie/1.jpg"),
        ("/to/" + quote("/ok/drüben da.jpg"), "/ok/dr%C3%BCben%20da.jpg"),
    ],
)
def test_images_are_asked_for_as_a_browser_would(web: Web, path: str, asked: str) -> None:
    assert fetch_image(web.url(path), LONG) == photo_for(asked)


def test_a_name_and_a_password_of_a_url_are_sent_to_its_host_only(web: Web) -> None:
    host = web.url("").removeprefix("http://")
    assert fetch_image(f"http://me:it@{host}/login/1.jpg", LONG) == photo_for("/login/1.jpg")
    assert reason_of(f"http://me:it@{host}/to/{quote('/login/2.jpg')}") == "http_401"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing/1.jpg", "http_404"),
        ("/broken/1.jpg", "not_an_image"),
        ("/empty/1.jpg", "empty"),
        ("/none/1.jpg", "empty"),
        ("/cut/1.jpg", "connection"),
        ("/circle/1.jpg", "redirect_loop"),
        ("/to/" + quote("file:///etc/hostname"), "not_http"),
        ("/to/" + quote("ftp://127.0.0.1/x"), "not_http"),
        ("/to/" + quote("data:image/gif;base64,R0lGODlhAQABAAAAACw="), "not_http"),
        ("/big/10001", "too_large"),
        ("/drip/1.jpg", "timeout"),
        ("/headers/1.jpg", "timeout"),
        ("/slow/1.jpg", "timeout"),
    ],
)
def test_what_is_no_image_fails_for_its_true_reason_and_in_time(web: Web, path: str, reason: str) -> None:
    started = time.monotonic()
    limits = SHORT if reason in ("timeout", "too_large") else LONG
    assert reason_of(web.url(path), limits) == reason
    assert time.monotonic() - started < 60, "or it hangs"


def test_a_response_without_a_length_ends_at_the_most_bytes(web: Web) -> None:
    assert reason_of(web.url("/drip/2.jpg"), FetchLimits(max_bytes=10)) == "too_large"
    assert len(fetch_image(web.url("/big/10000"), SHORT)) == 10_000


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://", "http://a b/", "ftp://127.0.0.1/", "http://h:x/"])
def test_what_is_no_url_of_the_web_is_never_opened(url: str) -> None:
    assert reason_of(url) == "bad_url"


def test_owners_forbid_uses_to_all_or_to_our_agent(web: Web) -> None:
    def fetch(header: str) -> bytes:
        url = web.url(f"/robots/{quote(header)}/1.jpg")
        return fetch_image(url, LONG, agent_token="ours", directives={"noml"})

    for header in ("noai", "otherbot: noml"):
        assert fetch(header).startswith(b"\xff\xd8")
    for header in ("noml", "ours: noml", "nofollow, NOML"):
        with pytest.raises(FetchFailed, match="X-Robots-Tag"):
            fetch(header)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("in an hour", 3000, 3601),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_a_server_says_when_to_come_back(web: Web, header: str, least: float, most: float) -> None:
    if header == "in an hour":
        header = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with pytest.raises(FetchFailed, match="HTTP Error 429") as caught:
        fetch_image(web.url(f"/busy/{quote(header)}/1.jpg"), LONG)
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most


@pytest.mark.parametrize("path", ["/busy/soon/1.jpg", "/missing/9.jpg", "/flaky/9.jpg"])
def test_without_such_a_time_nothing_is_waited_for(web: Web, path: str) -> None:
    with pytest.raises(FetchFailed, match="HTTP Error") as caught:
        fetch_image(web.url(path), LONG)
    assert caught.value.retry_after is None
