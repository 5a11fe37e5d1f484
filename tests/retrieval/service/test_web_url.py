from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from index.errors import BadInput
from retrieval.service.web_url import WebUrl, redirected, web_url

START = web_url("https://example.org/a/b.jpg?x=1")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.org", WebUrl("http", "example.org", 80, "/")),
        (" HTTPS://EXAMPLE.org:443/A b\t.jpg#part ", WebUrl("https", "example.org", 443, "/A%20b.jpg")),
        ("http:\\\\example.org\\a", WebUrl("http", "example.org", 80, "/a")),
        ("http://example.org?q=é", WebUrl("http", "example.org", 80, "/?q=%C3%A9")),
        ("http://example.org:/x", WebUrl("http", "example.org", 80, "/x")),
        ("http://example.org./x", WebUrl("http", "example.org.", 80, "/x")),
        ("http://example.org:8080/%7e%zz", WebUrl("http", "example.org", 8080, "/%7e%zz")),
        ("http://é.example/ü", WebUrl("http", "xn--9ca.example", 80, "/%C3%BC")),
        ("http://bücher。example/", WebUrl("http", "xn--bcher-kva.example", 80, "/")),
        ("http://a_b.example.org/", WebUrl("http", "a_b.example.org", 80, "/")),
        ("http://[2606:4700::1]:80/", WebUrl("http", "2606:4700::1", 80, "/")),
        ("http://127。0。0。1/", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://1２7.0.0.1/", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://0x7f.1/", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://0177.0.0.01/", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://2130706433/", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://127.1./", WebUrl("http", "127.0.0.1", 80, "/")),
        ("http://%31%32%37.0.0.1/", WebUrl("http", "127.0.0.1", 80, "/")),
    ],
)
def test_a_url_is_read_as_a_browser_reads_it(text: str, read: WebUrl) -> None:
    assert web_url(text) == read


@pytest.mark.parametrize(
    "text",
    ["", "example.org", "//example.org/", "file:///etc/passwd", "ftp://example.org/x", "data:image/png;base64,AA",
     "http://", "http:///x", "http://?", "http://:80/", "http://./", "http://.a/", "http://a..b/", "http://a.b../",
     f"http://{'a' * 64}.org/", f"http://{'a.' * 127}org/", "http://a b/", "http://a%00b/", "http://a%0d%0ab/",
     "http://a\x01b/", "http://a<b/", "http://a,b/", "http://256.0.0.1/", "http://1.2.3.4.5/", "http://08.1/",
     "http://a.0x7g.1/", "http://[::1", "http://[::g]/", "http://[]/", "http://[fe80::1%25eth0]/",
     "http://[fe80::1%eth0]/", "http://[:]:1]:80x/", "http://[[::1]]/", "http://a]/",
     "http://[::1]x/", "http://a:b/", "http://a:99999/", "http://a:-1/", "http://a:٨٠/", "http://u@example.org/",
     "http://u:p@example.org/", "http://:@[::1]/", "http://ｅ\ud800.org/", "http://" + "a" * 9_000, "http://xn--é/"],
)  # fmt: skip
def test_other_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput, match=r"^image_url: [^\n]*$"):
        web_url(text)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        (b"c.jpg", "https://example.org/a/c.jpg"),
        (b"/c.jpg", "https://example.org/c.jpg"),
        (b"../../../c.jpg", "https://example.org/c.jpg"),
        (b"?y=2", "https://example.org/a/b.jpg?y=2"),
        (b"//other.example/c", "https://other.example/c"),
        (b"\\\\other.example\\c", "https://other.example/c"),
        (b"http://other.example:80", "http://other.example/"),
        (b"HTTP://OTHER.example/c d", "http://other.example/c%20d"),
        (b"/\xc3\xa9", "https://example.org/%C3%A9"),
        (b"/\xe9", "https://example.org/%C3%A9"),
        (b"/%zz#part", "https://example.org/%zz"),
        (b"//0x7f.1/", "https://127.0.0.1/"),
    ],
)
def test_a_redirect_leads_where_a_browser_goes(location: bytes, leads_to: str) -> None:
    assert str(redirected(START, location)) == leads_to


@pytest.mark.parametrize(
    "location",
    [b"", b" ", b"file:///etc/passwd", b"gopher://x/", b"javascript:alert(1)", b"http://", b"//", b"http://[",
     b"//[::1", b"http://a..b/", b"http://u@x/", b"//@/", b"http:////x", b"http://x:99999/", b"\x00", b"mailto:x"],
)  # fmt: skip
def test_a_redirect_to_nothing_that_is_fetched_is_refused(location: bytes) -> None:
    if location in (b"\x00", b"//"):  # a browser stays at the host
        assert redirected(START, location).host == "example.org"
        return
    with pytest.raises(BadInput, match=r"^image_url: [^\n]*$"):
        redirected(START, location)


def test_names_for_the_host_header_and_for_tls() -> None:
    assert web_url("https://é.example.:8443/").authority == "xn--9ca.example.:8443"
    assert web_url("https://é.example.:8443/").server_name == "xn--9ca.example"
    assert web_url("http://[2606:4700::1]:81/").authority == "[2606:4700::1]:81"
    assert web_url("http://[2606:4700::1]/").server_name == "2606:4700::1"
    assert web_url("http://127.1/").address == "127.0.0.1"
    assert web_url("http://example.org/").address is None


ODD = st.text(st.sampled_from("ahtp:/\\.@[]%?#0x1234567fé。\u3000\x00\r\n \t-_~٣\ud800ß\u200d"), max_size=40)


@given(ODD, st.binary(max_size=40))
@example("http://1" + "0" * 5_000, b"//1" + b"0" * 5_000)
@example("a:" + "9" * 5_000, b"//a:" + b"9" * 5_000)
def test_no_other_error_than_bad_input(text: str, location: bytes) -> None:
    for given_text in (text, f"http://{text}", None):
        try:
            url = redirected(START, location) if given_text is None else web_url(given_text)
        except BadInput as error:
            refusal = str(error)
        else:
            refusal = "image_url: "
            assert str(url).isascii()
            assert not set(str(url)) & set("\r\n \x00")
            assert web_url(str(url)) == url
        assert refusal.startswith("image_url: ")
        assert "\n" not in refusal
