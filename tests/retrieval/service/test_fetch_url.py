from __future__ import annotations

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.service.admission import CLIENT
from retrieval.service.fetch_url import (
    MOST_ADDRESSES,
    MOST_FETCHES,
    MOST_OF_CLIENT,
    Access,
    addresses_of_host,
    fetch_images,
)
from retrieval.service.limits import OverLimit
from retrieval.service.public_addresses import is_public
from retrieval.service.settings import Settings
from tests.retrieval.service.raw_server import HOST, RawServer, ok, raw_server, redirect
from tests.serving import Serve

LIMITS = Settings(allow_urls=True)


def access_to(*servers: RawServer, names: dict[str, Sequence[str]] | None = None) -> Access:
    """What the service may fetch, and beside it these servers, which stand for public ones. names: the host names that
    exist beside localhost, with their addresses."""
    hosts = {server.host for server in servers if server.host == HOST}
    known = {"localhost": addresses_of_host("localhost"), **(names or {})}

    def resolve(host: str) -> Sequence[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return known[host]

    return Access(
        is_allowed=lambda address: address in hosts or is_public(address),
        ports=(80, 443, *(server.port for server in servers)),
        resolve=resolve,
    )


def fetch(url: str, access: Access, limits: Settings = LIMITS) -> bytes:
    return asyncio.run(fetch_images({0: url}, limits, access))[0]


def refusal(url: str, access: Access, limits: Settings = LIMITS) -> str:
    with pytest.raises(BadInput) as caught:
        fetch(url, access, limits)
    return str(caught.value)


def test_no_url_is_fetched_unless_the_operator_allows_it(client: httpx.Client) -> None:
    answer = client.post("/search", json={"queries": [{"image_url": "http://example.org/a.jpg"}], "k": 1})
    assert answer.status_code == 400
    assert "fetches no URLs" in answer.json()["error"]


def test_a_service_refuses_odd_urls_and_too_many_in_one_line(served_store: EmbeddingStore, serve: Serve) -> None:
    odd = [
        "http://a..b/",
        f"http://{'a' * 64}/",
        "http://é/",
        "http://127。0。0。1/",
        "http://0x7f.1/",
        "x",
        "http://[fe80::1%1]/",
    ]
    with serve(served_store, LIMITS) as url, httpx.Client(base_url=url, timeout=60) as client:
        for text in odd:
            answer = client.post("/search", json={"queries": [{"text": "a"}, {"image_url": text}], "k": 1})
            assert answer.status_code == 400, text
            assert answer.json()["error"].startswith("query 1: image_url: ")
        many = client.post("/search", json={"queries": [{"image_url": "http://127.0.0.1/"}] * 17, "k": 1})
        assert "17 image_urls: at most 16 a request" in many.json()["error"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "0", "127。0。0。1", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", "[fec0::1]", "100.100.100.200"],
)  # fmt: skip
def test_special_addresses_are_refused_however_they_are_written(host: str) -> None:
    """By the discard port, so that a broken check asks no metadata service."""
    assert "not public" in refusal(f"http://{host}:9/", Access(ports=(9,)))


@pytest.mark.parametrize("url", ["http://example.org:22/", "https://8.8.8.8:8443/"])
def test_other_ports_are_refused(url: str) -> None:
    assert "no ports but 80 and 443" in refusal(url, Access())


def test_an_image_is_fetched_by_name_and_by_address() -> None:
    with raw_server(lambda path: ok(path.encode())) as server:
        access = access_to(server, names={"xn--tda.example": [HOST]})
        assert fetch(server.url("/a"), access) == b"/a"
        assert fetch(server.url("/b c", "ü.example"), access) == b"/b%20c"


def test_one_special_address_among_those_of_a_name_refuses_it() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server:
        for addresses in ([HOST, "127.0.0.1"], ["10.0.0.1", HOST], [HOST, "fe80::1%eth0"], []):
            access = access_to(server, names={"mixed.example": addresses})
            assert "no address, or one that is not public" in refusal(server.url("/", "mixed.example"), access)
    assert server.connections == 0


def test_a_name_with_hundreds_of_addresses_is_refused() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server:
        access = access_to(server, names={"big.example": [HOST] * (MOST_ADDRESSES + 1)})
        assert f"more than {MOST_ADDRESSES} addresses" in refusal(server.url("/", "big.example"), access)
    assert server.connections == 0


def test_a_name_is_looked_up_once_for_the_check_and_the_connection() -> None:
    """A second look-up could give another address (DNS rebinding)."""
    answers: Iterator[Sequence[str]] = iter([[HOST], ["127.0.0.1"]])
    with raw_server(lambda path: ok(b"pixels")) as server:
        access = replace(access_to(server), resolve=lambda host: next(answers))
        assert fetch(server.url("/", "rebinding.example"), access) == b"pixels"
    assert list(answers) == [["127.0.0.1"]]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_to_paths_and_to_other_hosts(status: int) -> None:
    def reply(path: str) -> Sequence[bytes]:
        if path == "/a/1":
            return redirect("2?x", status)
        if path == "/a/2?x":
            return redirect(f"//other.example:{server.port}/3", status)
        return ok(path.encode())

    with raw_server(reply) as server:
        access = access_to(server, names={"first.example": [HOST], "other.example": [HOST]})
        assert fetch(server.url("/a/1", "first.example"), access) == b"/3"
    assert [head.split(b"\r\n")[1] for head in server.heads] == [
        f"Host: {name}.example:{server.port}".encode() for name in ("first", "first", "other")
    ]


def test_a_redirect_to_a_special_address_is_refused_and_never_connected_to() -> None:
    with raw_server(lambda path: ok(b"secret"), host="127.0.0.1") as inner:
        places = {
            "/address": inner.url("/secret"),
            "/name": inner.url("/secret", "localhost"),
            "/integer": inner.url("/secret", "2130706433"),
            "/mapped": inner.url("/secret", "[::ffff:127.0.0.1]"),
            "/no-scheme": inner.url("/secret").removeprefix("http:"),
            "/resolved": inner.url("/secret", "inner.example"),
            "/metadata": f"http://169.254.169.254:{inner.port}/latest/meta-data/",
        }
        with raw_server(lambda path: redirect(places[path])) as outer:
            access = access_to(outer, inner, names={"inner.example": ["127.0.0.1"]})
            for path in places:
                assert "not public" in refusal(outer.url(path), access)
        assert len(outer.heads) == len(places)
        assert inner.connections == 0


def test_redirects_in_a_circle_end() -> None:
    with raw_server(lambda path: redirect("/again")) as server:
        assert "more than 3 redirects" in refusal(server.url(), access_to(server))
    assert len(server.heads) == 4


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ([b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"], "answered 302 without a Location"),
        (redirect(""), "redirected to nowhere"),
        (redirect("file:///etc/passwd"), "does not begin with http:// or https:// (redirected there)"),
        (redirect("http://a..b/"), "is no host name (redirected there)"),
        (redirect(b"//a..\xff\xfe/"), "(redirected there)"),
        (redirect("http://u:p@x/"), "no user names"),
        (redirect("http://x:22/"), "no ports but"),
        (redirect("http://[::1"), "redirected to what is no URL"),
        ([b"HTTP/1.1 404 No\r\n\r\n"], "the server answered 404"),
        ([b"HTTP/1.1 204 No\r\n\r\n"], "the server answered 204"),
        (ok(b""), "the answer is empty"),
        ([b"garbage"], "could not be fetched"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], "could not be fetched"),
    ],
)
def test_what_a_server_does_wrong_is_one_clear_line(reply: list[bytes], says: str) -> None:
    with raw_server(lambda path: reply) as server:
        message = refusal(server.url(), access_to(server))
    assert message.startswith("query 0: image_url: ")
    assert says in message


def test_more_urls_than_the_setting_are_refused_before_any_is_fetched() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server:
        urls = {place: server.url() for place in range(3)}
        with pytest.raises(OverLimit, match="3 image_urls: at most 2 a request") as caught:
            asyncio.run(fetch_images(urls, replace(LIMITS, max_urls=2), access_to(server)))
        assert caught.value.bound == "max_urls"
        with pytest.raises(BadInput, match="query 2: image_url"):
            asyncio.run(fetch_images({**urls, 2: f"http://10.0.0.1:{server.port}/"}, LIMITS, access_to(server)))
    assert server.connections == 0


def test_the_bytes_of_all_urls_together_are_bounded_and_nothing_is_kept() -> None:
    megabyte = bytes(1 << 20)
    with raw_server(lambda path: ok(megabyte)) as server:
        urls = {place: server.url() for place in range(16)}
        limits = replace(LIMITS, max_fetch_bytes=5 << 20)
        tracemalloc.start()
        with pytest.raises(OverLimit, match=r"query \d+: .* more than 5,242,880 bytes together") as caught:
            asyncio.run(fetch_images(urls, limits, access_to(server)))
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert caught.value.bound == "max_fetch_bytes"
        assert peak < 16 << 20
        assert kept < 3 << 20  # in the frames of the error at most
        assert len(asyncio.run(fetch_images({3: server.url()}, limits, access_to(server)))[3]) == 1 << 20


def test_what_is_fetched_is_told_as_it_comes() -> None:
    held: list[int] = []
    with raw_server(lambda path: ok(bytes(100_000))) as server:
        urls = {place: server.url() for place in range(3)}
        asyncio.run(fetch_images(urls, LIMITS, access_to(server), held.append))
    assert sum(held) == 300_000
    assert max(held) <= 100_000


def slowly(parts: Sequence[bytes], seconds: float) -> Iterator[bytes]:
    for part in parts:
        yield part
        time.sleep(seconds)


def test_a_byte_now_and_then_does_not_hold_a_request_up() -> None:
    head, body = ok(bytes(1_000))
    letters = [bytes([byte]) for byte in head + body]
    with raw_server(lambda path: slowly(letters, 0.05)) as server:
        access = replace(access_to(server), seconds=0.5)
        assert "no whole answer within 0.5 s" in refusal(server.url(), access)
        assert server.left.wait(10)


def test_all_images_of_a_request_have_a_time_together() -> None:
    with raw_server(lambda path: slowly(ok(b"pixels"), 0.3)) as server:
        access = replace(access_to(server), request_seconds=0.5)
        urls = {place: server.url() for place in range(16)}
        with pytest.raises(BadInput, match=r"took longer than 0\.5 s together"):
            asyncio.run(fetch_images(urls, LIMITS, access))


def test_a_name_server_that_does_not_answer_holds_nothing_up() -> None:
    answer = threading.Event()

    def hang(host: str) -> Sequence[str]:
        answer.wait(60)
        return [HOST]

    access = Access(resolve=hang, seconds=0.2)
    started = time.monotonic()
    assert "no whole answer within 0.2 s" in refusal("http://slow.example/", access)
    assert time.monotonic() - started < 30  # the end of the event loop waits for no look-up either
    answer.set()


def test_fetches_at_the_same_time_are_few_for_a_client_and_for_the_process() -> None:
    lock = threading.Lock()
    now = most = 0

    def reply(path: str) -> Sequence[bytes]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return ok(b"pixels")

    async def request(server: RawServer, client: str) -> None:
        CLIENT.set(client)
        await fetch_images({place: server.url() for place in range(8)}, LIMITS, access_to(server))

    async def requests(server: RawServer, clients: str) -> None:
        await asyncio.gather(*(request(server, client) for client in clients))

    for clients, bound in (("a", MOST_OF_CLIENT), ("aaa", MOST_OF_CLIENT), ("abcd", MOST_FETCHES)):
        most = 0
        with raw_server(reply) as server:
            asyncio.run(requests(server, clients))
        assert 1 < most <= bound
        assert server.connections == 8 * len(clients)


def test_a_request_whose_client_left_closes_its_connections() -> None:
    def endless(path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n"
        while True:
            yield b"x"
            time.sleep(0.01)

    async def cancelled(server: RawServer) -> None:
        task = asyncio.create_task(fetch_images({0: server.url()}, LIMITS, access_to(server)))
        while not server.sent:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 10)

    with raw_server(endless) as server:
        asyncio.run(cancelled(server))


ODD = st.text(st.sampled_from("ahtp:/\\.@[]%?#0x1234567fé。\u3000\x00\r\n \t-_~٣\ud800ß\u200d"), max_size=30)
LINES = [
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 X\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/9.9 \xff\r\n", b"\x00", b"\r\n"),
    *(b"Location: /\r\n", b"LOCATION: //[\xff\r\n", b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"Content-Encoding: br\r\n", b": \r\n"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ODD, reply=st.lists(st.sampled_from(LINES), max_size=7), location=st.binary(max_size=20))
def test_whatever_a_url_and_a_server_say_only_bad_input_is_raised(
    text: str, reply: list[bytes], location: bytes
) -> None:
    def answer(path: str) -> Sequence[bytes]:
        return redirect(location.replace(b"\n", b"")) if path == "/redirect" else reply

    with raw_server(answer) as server:
        access = replace(access_to(server), seconds=5.0)
        urls: list[Callable[[], str]] = [
            lambda: text,
            lambda: f"http://{text}",
            server.url,
            lambda: server.url("/redirect"),
        ]
        for url in urls:
            try:
                fetch(url(), access)
            except BadInput as error:
                message = str(error)
            else:
                continue
            assert "\n" not in message
