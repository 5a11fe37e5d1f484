from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.new_connections import MOST_NEW, NewConnections
from tests.retrieval.service.test_security import address_of
from tests.serving import Serve

CROWD, OTHER = "127.0.0.2", "127.0.0.3"
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has 127.0.0.1 alone")


class Noting(asyncio.Protocol):
    """Notes the transports of connections in the order in which they got their turn."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(transport)


@contextmanager
def opened(listener: socket.socket, source: str, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        where = listener.getsockname()
        yield [
            stack.enter_context(socket.create_connection(where, timeout=10, source_address=(source, 0)))
            for _ in range(count)
        ]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        yield listening


async def taken(listener: socket.socket, most: int = MOST_NEW, seconds: float = 0.5) -> tuple[list[str], Counter[str]]:
    """The addresses in the order of their turns, and what was refused."""
    made: list[asyncio.BaseTransport] = []
    refused: Counter[str] = Counter()
    accepting = NewConnections(listener, lambda: Noting(made), lambda bound: refused.update([bound]), 500, most)
    await asyncio.sleep(seconds)
    accepting.close()
    seen = [str(transport.get_extra_info("peername")[0]) for transport in made]
    for transport in made:
        transport.close()
    await asyncio.sleep(0)
    return seen, refused


def test_a_connection_does_not_wait_behind_all_of_another_address(listener: socket.socket) -> None:
    with opened(listener, CROWD, 50), opened(listener, OTHER, 1):  # all fit into one look at the system's line
        seen, refused = asyncio.run(taken(listener))
    assert seen.count(CROWD) == 50
    assert seen.index(OTHER) <= 2
    assert not refused


def test_where_too_many_wait_those_of_the_longest_line_are_closed(listener: socket.socket) -> None:
    with opened(listener, CROWD, 50) as crowd, opened(listener, OTHER, 2):
        seen, refused = asyncio.run(taken(listener, most=10))
        # The last that came are closed: their client reads the end.
        crowd[-1].settimeout(5)
        assert crowd[-1].recv(1) == b""
    assert seen.count(OTHER) == 2
    assert 8 <= seen.count(CROWD) <= 12
    assert refused["connections"] == 52 - len(seen)


def test_where_each_address_has_one_nobody_is_closed(listener: socket.socket) -> None:
    with ExitStack() as stack:
        for number in range(60):
            stack.enter_context(opened(listener, f"127.0.1.{number + 1}", 1))
        seen, refused = asyncio.run(taken(listener, most=10))
    assert len(set(seen)) == 60
    assert not refused


def test_one_whose_client_has_gone_gets_no_turn(listener: socket.socket) -> None:
    with opened(listener, CROWD, 3) as gone, opened(listener, OTHER, 1):
        for connection in gone:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.close()
        time.sleep(0.1)
        seen, _ = asyncio.run(taken(listener))
    assert seen == [OTHER] if sys.platform == "linux" else OTHER in seen


def test_closing_closes_those_that_wait(listener: socket.socket) -> None:
    async def closed_at_once() -> list[asyncio.BaseTransport]:
        made: list[asyncio.BaseTransport] = []
        accepting = NewConnections(listener, lambda: Noting(made), lambda _: None, 500)
        accepting._accept()
        accepting.close()
        await asyncio.sleep(0.1)
        return made

    with opened(listener, CROWD, 5) as some:
        assert asyncio.run(closed_at_once()) == []
        for connection in some:
            assert connection.recv(1) == b""
    assert listener.fileno() == -1


def test_a_crowd_of_connections_that_are_closed_at_once_does_not_keep_others(
    served_store: EmbeddingStore, serve: Serve
) -> None:
    ask = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serve(served_store) as url:
        for _ in range(300):
            with socket.create_connection(address_of(url), timeout=10, source_address=(CROWD, 0)) as connection:
                connection.sendall(ask)
        assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
