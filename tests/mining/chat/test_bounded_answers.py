"""A server that floods, packs or trickles its answer, over a real socket."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from mining.chat.asking import Limits
from mining.chat.chat import ChatReply
from mining.chat.openai_server import OpenAIServer
from tests.mining.chat.chat_server import completion, question, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(write: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that writes so to each connection."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(1 << 16)
            write(connection)
            ended.wait(30)

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def reply_of(url: str, timeout: float = 20.0) -> ChatReply:
    server = OpenAIServer(url, "tiny", api_key="k", timeout=timeout, limits=Limits(retries=0, patience=60))
    ((_, reply),) = server.replies([("a", question("q"))])
    return reply


def flood(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")


def packed(connection: socket.socket) -> None:
    body = gzip.compress(b" " * (1 << 20))
    connection.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def trickle(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("write", "why"), [(flood, "the answer is longer than 32 MiB"), (packed, r"the answer is compressed \(gzip\)")]
)
def test_an_answer_without_end_or_packed_is_not_read(write: Callable[[socket.socket], None], why: str) -> None:
    with answering(write) as url:
        reply = reply_of(url)
    assert reply.finish == "failed"
    assert why.replace("\\", "") in str(reply.error)


def test_an_answer_that_comes_byte_by_byte_has_the_time_of_one_answer() -> None:
    with answering(trickle) as url:
        assert reply_of(url, timeout=0.5).error == "no answer in 0.5 s (1 attempts)"


def test_answers_are_asked_for_without_compression() -> None:
    with serving(lambda number, body: completion("fine")) as server:
        assert reply_of(server.url).text == "fine"
    assert server.headers[0]["accept-encoding"] == "identity"
