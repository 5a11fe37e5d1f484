"""A local S3 for tests: moto's server in a process of its own, and a proxy before it that fails as networks do."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)

# What the proxy does with a request, given its number and method: "serve", "503", "cut" or "slow".
Plan = Callable[[int, str], str]


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """The URL of an S3 with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                    connection.request("PUT", f"/{bucket}")
                    assert connection.getresponse().status == 200
                    break
                except OSError:
                    assert server.poll() is None, "moto's server ended"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


class FlakyProxy:
    """Serves what the S3 at `target` answers, except where its plan says otherwise."""

    def __init__(self, target: str) -> None:
        self.plan: Plan = lambda number, method: "serve"
        self.requests = 0
        self.failed = 0
        self._host = target.removeprefix("http://")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def relay(self) -> None:
                proxy._relay(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _relay(self, request: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        what = self.plan(self.requests, request.command)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if what == "slow":
            time.sleep(0.2)
        if what == "503":
            self.failed += 1
            request.send_response(503)
            request.send_header("Content-Length", str(len(SLOW_DOWN)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(SLOW_DOWN)
            return
        upstream = http.client.HTTPConnection(self._host, timeout=30)
        upstream.request(request.command, request.path, body, dict(request.headers))
        answer = upstream.getresponse()
        data = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if request.command == "HEAD" else None
        request.send_header("Content-Length", length or str(len(data)))
        request.end_headers()
        if what == "cut" and len(data) > 1:
            self.failed += 1
            request.wfile.write(data[: len(data) // 2])
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        request.wfile.write(data)
        upstream.close()


def use_s3(patch: pytest.MonkeyPatch, url: str) -> None:
    """Let this process, and those that it starts, use the S3 at `url`."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": url}).items():
        patch.setenv(name, value)
