"""A chat server on 127.0.0.1 that behaves as a test tells it, through real sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mining.chat.chat import ChatRequest
from mining.sets.annotation import Turn


@dataclass
class Answer:
    """What the server does for one request. body: JSON, or bytes as they are. cut: close after so many bytes."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: int | None = None


Behaviour = Callable[[int, dict[str, Any]], Answer]


def completion(text: str | None, finish: str = "stop", **message: Any) -> Answer:
    """A whole chat completion."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Answer({"id": "1", "object": "chat.completion", "model": "tiny", "choices": [choice], "usage": usage})


def echo(body: dict[str, Any]) -> Answer:
    """The last message's text, as the answer."""
    content = body["messages"][-1]["content"]
    texts = [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]
    return completion("".join(texts))


def question(text: str, **options: Any) -> ChatRequest:
    """A request of one turn."""
    return ChatRequest((Turn("user", (text,)),), **options)


class ChatServer(ThreadingHTTPServer):
    """behaviour(n, body): what is done for the n-th chat request, from 0. models: what /v1/models lists."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behaviour: Behaviour, models: tuple[str, ...] = ("tiny",), port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behaviour, self.models = behaviour, models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.connections: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def kill(self) -> None:
        """End all connections, in mid-answer where there is one, and answer no more."""
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(Answer({"object": "list", "data": [{"id": name} for name in self.server.models]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.server.paths.append(self.path)
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            answer = self.server.behaviour(number, body)
            time.sleep(answer.seconds)
        finally:
            with self.server.lock:
                self.server.under_way -= 1
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.cut is not None and answer.cut < 0:
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: answer.cut])
        if answer.cut is not None:
            self._reset()

    def _reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


@contextmanager
def serving(behaviour: Behaviour, models: tuple[str, ...] = ("tiny",), port: int = 0) -> Iterator[ChatServer]:
    """A server in a thread until the block ends; then its connections are ended too."""
    with ChatServer(behaviour, models, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.kill()
            thread.join()
