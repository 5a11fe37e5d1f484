"""Connections of a real server: heads, idle ones, answers that nobody reads, requests that are not HTTP."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.retrieval.service.test_security import address_of
from tests.serving import Serve

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
ASK = HEAD + b"\r\n"
# Some 10 MB of lines, more than the system's own buffers take.
LIST = {
    "concepts": [f"thing {number}" for number in range(2_000)],
    "k": 33,
    "columns": ["caption", "url", "key", "shard"],
    "rules": {"cross_concept": "keep-all"},
}


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(address_of(url), timeout=20) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while more := connection.recv(65_536):
            found += more
    except ConnectionResetError:
        pass
    return found


def refused(url: str, bound: str) -> float:
    """How often the metrics say that a bound refused something."""
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith(f'clipmine_refused_total{{bound="{bound}"}}'):
            return float(line.split()[-1])
    return 0


@pytest.mark.parametrize(
    "head", [HEAD + b"X: " + b"a" * 900_000, HEAD + b"X: a\r\n" * 2_000, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n"],
    ids=["one value", "many lines", "address"],
)  # fmt: skip
def test_a_head_is_bounded_in_bytes(served_store: EmbeddingStore, serve: Serve, head: bytes) -> None:
    with serve(served_store, Settings(max_head_bytes=8_000)) as url:
        with connected(url) as connection:
            try:
                connection.sendall(head)
            except (BrokenPipeError, ConnectionResetError):
                return  # it was closed while we were sending
            assert all_of(connection).startswith(b"HTTP/1.1 431")
        with connected(url) as connection:
            connection.sendall(HEAD + b"X: " + b"a" * 7_000 + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert refused(url, "max_head_bytes") == 1


def test_a_slow_head_and_a_silent_connection_are_closed(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(head_seconds=0.5, idle_seconds=0.5)) as url:
        with connected(url) as silent, connected(url) as slow, connected(url) as asked_once:
            slow.sendall(HEAD)
            asked_once.sendall(ASK)
            assert all_of(silent) == b""
            assert all_of(slow).startswith(b"HTTP/1.1 408")
            assert all_of(asked_once).startswith(b"HTTP/1.1 200")
        assert refused(url, "head_seconds") == 1


def test_the_connection_that_is_idle_longest_makes_room(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(connections=20)) as url, ExitStack() as held:
        first = held.enter_context(connected(url))
        for _ in range(100):
            held.enter_context(connected(url))
        assert all_of(first) == b""
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert refused(url, "connections") >= 80


def test_pipelined_requests_are_answered_up_to_a_number(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store) as url, connected(url) as few, connected(url) as many:
        few.sendall(ASK * 5)
        found = b""
        while found.count(b"HTTP/1.1 200") < 5:
            found += few.recv(65_536)
        many.sendall(ASK * 3_000)
        assert 1 <= all_of(many).count(b"HTTP/1.1 200") < 40
        assert refused(url, "pipelined") == 1


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\0\x01", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 999, b"CONNECT a:1 HTTP/1.1\r\n\r\n"]
)
def test_garbage_is_answered_once_after_what_came_before_it(client: httpx.Client, garbage: bytes) -> None:
    with connected(str(client.base_url)) as connection:
        connection.sendall(garbage)
        assert all_of(connection).startswith(b"HTTP/1.1 400")
    with connected(str(client.base_url)) as connection:
        connection.sendall(ASK)
        connection.recv(65_536)
        connection.sendall(ASK + garbage)
        found = all_of(connection)
        assert found.startswith(b"HTTP/1.1 200") or found.startswith(b"HTTP/1.1 400")
    assert client.get("/healthz").status_code == 200


def test_what_stands_between_the_pieces_of_a_body_is_bounded(served_store: EmbeddingStore, serve: Serve) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serve(served_store, Settings(max_head_bytes=8_000)) as url:
        for framing in (b"1;" + b"x" * 99_000, b"1\r\n{\r\n0\r\n" + b"X: a\r\n" * 20_000):
            with connected(url) as connection:
                try:
                    connection.sendall(head + framing)
                    found = all_of(connection)
                except (BrokenPipeError, ConnectionResetError):
                    continue
                assert found[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 422", b""), found
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_an_upgrade_is_not_followed(client: httpx.Client) -> None:
    with connected(str(client.base_url)) as connection:
        connection.sendall(HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert all_of(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_that_is_not_read_ends_and_gives_its_place_back(served_store: EmbeddingStore, serve: Serve) -> None:
    body = httpx.Request("POST", "http://localhost/concepts", json=LIST).read()
    head = b"POST /concepts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serve(served_store, Settings(answer_seconds=0.5, concept_jobs=1)) as url:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.connect(address_of(url))
            deaf.sendall(head + body)
            end = time.monotonic() + 20
            while refused(url, "answer_seconds") < 1 and time.monotonic() < end:
                time.sleep(0.1)
            assert refused(url, "answer_seconds") == 1
        answer = httpx.post(f"{url}/concepts", json={"concepts": ["dog"], "k": 1}, timeout=60)
        assert answer.status_code == 200


POST = HEAD.replace(b"GET", b"POST")


def test_a_body_that_goes_on_after_the_answer_ends_the_connection(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(head_seconds=0.5)) as url:
        with connected(url) as endless:
            endless.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
            assert all_of(endless).startswith(b"HTTP/1.1 405")
        with connected(url) as long:
            long.sendall(POST + b"Content-Length: 9000000\r\n\r\n")
            assert long.recv(100).startswith(b"HTTP/1.1 405")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                long.sendall(b" " * 8_000_000)
            all_of(long)


def test_a_short_body_may_come_after_its_answer(client: httpx.Client) -> None:
    with connected(str(client.base_url)) as connection:
        connection.sendall(POST + b"Content-Length: 9\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 405")
        connection.sendall(b"too late " + ASK)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


def test_a_body_in_tiny_pieces_is_refused(client: httpx.Client) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(str(client.base_url)) as connection:
        connection.sendall(head + b"1\r\nx\r\n" * 3_000)
        assert b"pieces of fewer than 32 bytes" in all_of(connection)
    with connected(str(client.base_url)) as connection:
        connection.sendall(head + (b"40\r\n" + b" " * 64 + b"\r\n") * 3_000 + b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 422"), "it was read"


def test_clients_that_leave_are_no_errors(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n"
    for _ in range(10):
        with connected(str(client.base_url)) as connection:
            connection.sendall(head + b"{")
    body = httpx.Request("POST", "http://localhost/concepts", json=LIST).read()
    with connected(str(client.base_url)) as connection:  # while one is answered and another waits
        connection.sendall(b"POST /concepts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body + ASK)
        connection.recv(100)
    assert client.get("/healthz").status_code == 200
    time.sleep(0.2)
    assert not caplog.records
