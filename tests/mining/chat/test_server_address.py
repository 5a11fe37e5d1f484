from __future__ import annotations

import logging

import pytest

from index.errors import BadInput
from mining.chat.server_address import ServerAddress

KEY = "sk-secret-123"


@pytest.fixture(autouse=True)
def no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_an_address_is_shown_without_credentials_and_query() -> None:
    address = ServerAddress.parse("https://me:p%40ss@host:8443/v1/?api-version=2024&key=abcdef")
    assert address.url == "https://host:8443/v1"
    assert repr(address) == "ServerAddress('https://host:8443/v1')"
    assert address.query == {"api-version": "2024", "key": "abcdef"}
    assert address.headers["Authorization"].startswith("Basic ")


def test_an_address_of_version_6_keeps_its_brackets() -> None:
    assert ServerAddress.parse("http://[::1]:80/v1").url == "http://[::1]:80/v1"


def test_secrets_are_hidden_in_every_form() -> None:
    address = ServerAddress.parse("http://me:p%40ssword@host/v1?token=a+b+c+d")
    said = "p@ssword p%40ssword a b c d me:p@ssword http://who:ever@else/x " + address.headers["Authorization"]
    hidden = address.hide(said)
    assert not any(word in hidden for word in ("p@ss", "p%40", "a b c", "who:", "Basic bWU"))
    assert "http://else/x" in hidden


@pytest.mark.parametrize(
    "address", ["host:8000", "ftp://host/v1", "http://", "http://host:port/v1", "", "http://[::1/v1"]
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(BadInput, match="it looks like http://host:8000/v1"):
        ServerAddress.parse(address)


@pytest.mark.parametrize("address", [f"http://{'a' * 70}ü.x/v1", "http://..x/v1", "http://host/\0v1"])
def test_what_no_request_can_be_sent_to_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="is the address right"):
        ServerAddress.parse(address)


def test_a_key_comes_from_an_argument_a_named_variable_or_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServerAddress.parse("http://host/v1").key == ""
    monkeypatch.setenv("OPENAI_API_KEY", "usual-key")
    monkeypatch.setenv("OTHER", " other-key\n")
    assert ServerAddress.parse("http://host/v1").key == "usual-key"
    assert ServerAddress.parse("http://host/v1", key_variable="OTHER").key == "other-key"
    assert ServerAddress.parse("http://host/v1", "given-key", "OTHER").key == "given-key"
    assert ServerAddress.parse("http://me:pass@host/v1").key == ""


@pytest.mark.parametrize(
    ("url", "key", "variable", "words"),
    [
        ("http://host/v1", None, "NOT_SET_ANYWHERE", "'NOT_SET_ANYWHERE' holds no key"),
        ("http://host/v1", None, KEY, "give the name, not the key"),
        ("http://host/v1", None, "", "give the name, not the key"),
        ("http://host/v1", f"OPENAI_API_KEY = {KEY}", None, "was more than the key copied"),
        ("http://host/v1", f"{KEY}é", None, "was more than the key copied"),
        ("http://me:pass@host/v1", KEY, None, "not both"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_showing_it(
    url: str, key: str | None, variable: str | None, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as raised:
        ServerAddress.parse(url, key, variable)
    assert KEY not in str(raised.value)
    assert "pass@" not in str(raised.value)


def test_logs_of_http_libraries_hide_secrets_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address, log = ServerAddress.parse("http://host/v1", KEY), logging.getLogger("httpx2")
    with address.hidden_in_logs():
        log.debug("sent %s", {"authorization": f"Bearer {KEY}"})
        try:
            raise ValueError(KEY)
        except ValueError:
            log.exception("failed")
        log.debug("plain %d", 1)
    assert KEY not in caplog.text
    assert "plain 1" in caplog.text
    assert "ValueError: ***" in caplog.text
    assert not log.filters
