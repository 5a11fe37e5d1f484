"""A server on a loopback address that sends exactly the bytes that a test gives it, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["HOST", "RawServer", "ok", "raw_server", "redirect"]

HOST = "127.0.0.2"  # Linux has all of 127.0.0.0/8; tests allow this address and no other special one
Reply = Callable[[str], Iterable[bytes]]


def ok(body: bytes, *headers: str) -> list[bytes]:
    """A whole answer with status 200."""
    return [_head(200, f"Content-Length: {len(body)}", *headers), body]


def redirect(location: bytes | str, status: int = 302) -> list[bytes]:
    """A redirect, with the spelling of header names that most servers use."""
    place = location if isinstance(location, bytes) else location.encode()
    return [_head(status, "Content-Length: 0")[:-2] + b"Location: " + place + b"\r\n\r\n"]


def _head(status: int, *headers: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *headers, "")).encode()


class RawServer:
    """`reply` gives the parts of an answer to a path. heads: of the requests so far. left: is set once a client has
    closed its connection before the answer's end."""

    def __init__(self, listener: socket.socket, reply: Reply, tls: ssl.SSLContext | None) -> None:
        self.listener, self.reply, self.tls = listener, reply, tls
        self.host, self.port = listener.getsockname()[:2]
        self.heads: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.left = threading.Event()

    def url(self, path: str = "/", host: str = "") -> str:
        """A URL of this server, by its address or by another name for it."""
        return f"{'https' if self.tls else 'http'}://{host or self.host}:{self.port}{path}"

    def accept(self) -> None:
        """Answer connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as stream:
                head = b""
                while b"\r\n\r\n" not in head and (part := stream.recv(4_096)):
                    head += part
                if not head:  # the client left at once
                    return
                self.heads.append(head)
                for part in self.reply(head.split(b" ")[1].decode()):
                    stream.sendall(part)
                    self.sent += len(part)
        except OSError:
            self.left.set()


@contextmanager
def raw_server(reply: Reply, host: str = HOST, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """`with raw_server(reply) as server:` answers on a free port of `host`."""
    with socket.create_server((host, 0)) as listener:
        server = RawServer(listener, reply, tls)
        thread = threading.Thread(target=server.accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
