"""A real HTTP server on this machine for the tests of downloading: it answers by the first folder of a URL's path.

/ok/..     a JPEG                       /missing/..  404          /noai/..    a JPEG whose owner refuses use
/gone/..   410                          /broken/..   bytes that are no image
/slow/..   answers after `delay` s      /flaky/..    503 at first, then a JPEG      /late/.. slow at first, then at once
/drip/..   some bytes, now and then, without an end         /headers/.. headers without an end, likewise
/big/N     N bytes that begin like a JPEG                   /cut/..     half of the bytes that were promised
/empty/..  no bytes            /none/..  204                /zip/..     a JPEG, packed by gzip
/robots/V/..  a JPEG with `X-Robots-Tag: V`
/wait/N/.. 429 at first, with `Retry-After: N`, then a JPEG /busy/N/..  429 with `Retry-After: N` always
/to/U      redirects to U             /circle/..  redirects to itself, /cookie/..  until its cookie comes back
/login/..  401 without the name `me` and the password `it`
"""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from PIL import Image

from tests.index.corpora import encode


def photo_for(path: str) -> bytes:
    """The JPEG at a path: its color follows from the path."""
    number = sum(path.encode()) % 256
    return encode(Image.new("RGB", (12, 9), (number, 255 - number, 128)), "JPEG", quality=95)


class Web(ThreadingHTTPServer):
    """The server, with what was asked of it."""

    daemon_threads = True

    def __init__(self, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.delay = delay
        self.closed = threading.Event()
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def asked_since(self, before: Counter[str]) -> Counter[str]:
        return self.asked - before

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that gave up waiting are part of the test."""


class _Answers(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
            times = self.server.asked[self.path]
            self.server.agents.add(self.headers.get("User-Agent", ""))
        kind, _, rest = self.path[1:].partition("/")
        special = getattr(self, f"_{kind}", None)
        if special is not None:
            special(rest, times)
            return
        if kind == "slow" or (kind == "late" and times == 1):
            time.sleep(self.server.delay)
        status = {"missing": 404, "gone": 410}.get(kind, 503 if kind == "flaky" and times == 1 else 200)
        body = b"<html>no image</html>" if kind == "broken" or status != 200 else photo_for(self.path)
        self._send(body, status, {"X-Robots-Tag": "noai"} if kind == "noai" else {})

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, rest: str, times: int) -> None:
        self.send_response(200)
        self.end_headers()
        self._trickle(b"\xff\xd8\xff\xe0")

    def _headers(self, rest: str, times: int) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        self._trickle(b"x")

    def _trickle(self, piece: bytes) -> None:
        while not self.server.closed.wait(0.1):
            self.wfile.write(piece)

    def _big(self, rest: str, times: int) -> None:
        self._send(b"\xff\xd8\xff\xe0".ljust(int(rest), b"\0"))

    def _cut(self, rest: str, times: int) -> None:
        body = photo_for(self.path)
        self._send(body[: len(body) // 2], headers={"Content-Length": str(len(body))})

    def _empty(self, rest: str, times: int) -> None:
        self._send(b"")

    def _none(self, rest: str, times: int) -> None:
        self.send_response(204)
        self.end_headers()

    def _zip(self, rest: str, times: int) -> None:
        self._send(gzip.compress(photo_for(self.path)), headers={"Content-Encoding": "gzip"})

    def _robots(self, rest: str, times: int) -> None:
        self._send(photo_for(self.path), headers={"X-Robots-Tag": unquote(rest.partition("/")[0])})

    def _wait(self, rest: str, times: int) -> None:
        if times == 1:
            self._busy(rest, times)
        else:
            self._send(photo_for(self.path))

    def _busy(self, rest: str, times: int) -> None:
        self._send(b"later", 429, {"Retry-After": unquote(rest.partition("/")[0])})

    def _to(self, rest: str, times: int) -> None:
        self._send(b"", 302, {"Location": unquote(rest, "latin-1")})

    def _circle(self, rest: str, times: int) -> None:
        self._send(b"", 302, {"Location": self.path})

    def _cookie(self, rest: str, times: int) -> None:
        if self.headers.get("Cookie") == "seen=yes":
            self._send(photo_for(self.path))
        else:
            self._send(b"", 302, {"Location": self.path, "Set-Cookie": "seen=yes"})

    def _login(self, rest: str, times: int) -> None:
        known = self.headers.get("Authorization") == "Basic bWU6aXQ="
        self._send(photo_for(self.path) if known else b"who?", 200 if known else 401)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `asked` is the log."""


@contextmanager
def serve(delay: float = 8.0) -> Iterator[Web]:
    """A running server on a free port of 127.0.0.1."""
    web = Web(delay)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.closed.set()
        web.shutdown()
        web.server_close()
        thread.join()
