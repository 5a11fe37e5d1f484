"""URLs of a table become what a browser would ask for, or are refused with the reason."""

from __future__ import annotations

import pytest

from index.corpus.browser_url import browser_url


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("http://a.org/b.jpg?x=1&y=%20#top", "http://a.org/b.jpg?x=1&y=%20"),
        ("HTTPS://A.org", "https://a.org/"),
        ("http://a.org?x", "http://a.org/?x"),
        ("  \u00a0\ufeffhttp://a.org/1.jpg\u200b \r\n", "http://a.org/1.jpg"),
        ("http://a.org/two words.jpg?q=a b", "http://a.org/two%20words.jpg?q=a%20b"),
        ("http://a.org/br\nok\ten.jpg", "http://a.org/broken.jpg"),
        ("http://a.org/Zürich/東京.jpg?é", "http://a.org/Z%C3%BCrich/%E6%9D%B1%E4%BA%AC.jpg?%C3%A9"),
        ("http://a.org/100%.jpg?p=%zz", "http://a.org/100%.jpg?p=%zz"),
        ('http://a.org/"<x>`{y}', "http://a.org/%22%3Cx%3E%60%7By%7D"),
        ("http://a.org\\b\\c.jpg?q=\\", "http://a.org/b/c.jpg?q=%5C"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://straße.example:8080/x", "http://xn--strae-oqa.example:8080/x"),
        ("http://b%C3%BCcher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://my_bucket.a.org:/x", "http://my_bucket.a.org/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_a_url_is_what_a_browser_asks_for(text: str, asked: str) -> None:
    assert browser_url(text).url == asked
    assert browser_url(asked).url == asked


def test_a_name_and_a_password_become_a_header() -> None:
    assert browser_url("http://us%20er:pass@a.org/x") == ("http://a.org/x", "Basic dXMgZXI6cGFzcw==")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin"),
        ("file:///etc/passwd", "does not begin"),
        ("//a.org/x", "does not begin"),
        ("http:///x", "no host"),
        ("http://a b/x", "is no name"),
        ("http://a%2Fb/x", "is no name"),
        ("http://a.org:port/x", "is no number"),
        ("http://a.org:99999/x", "is no number"),
        (f"http://{'ü' * 300}.org/x", "is no name"),
    ],
)
def test_what_is_no_url_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        browser_url(text)
