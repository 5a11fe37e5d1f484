"""A real HTTP server on this machine for the tests of downloading: it answers by the first folder of a URL's path.

/ok/..     a JPEG                       /missing/..  404          /noai/..    a JPEG whose owner refuses use
/gone/..   410                          /broken/..   bytes that are no image
/slow/..   answers after `delay` s      /flaky/..    503 at first, then a JPEG      /late/.. slow at first, then at once
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
        kind = self.path.split("/")[1]
        if kind == "slow" or (kind == "late" and times == 1):
            time.sleep(self.server.delay)
        status = {"missing": 404, "gone": 410}.get(kind, 503 if kind == "flaky" and times == 1 else 200)
        body = b"<html>no image</html>" if kind == "broken" or status != 200 else photo_for(self.path)
        self.send_response(status)
        if kind == "noai":
            self.send_header("X-Robots-Tag", "noai")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
        web.shutdown()
        web.server_close()
        thread.join()
