"""A real HTTP server with OpenAI's protocol that answers comparisons: words that captions share, and words that differ.

Run as: python -m tests.jobs.comparing_server PORT LOG [SECONDS]

SECONDS: how long an answer takes. LOG: a file that gets a line of JSON for each request: {"asked"} when it comes,
{"answered"} when it was computed; both a hash of its messages, with the answer's first line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["MODEL", "ComparingServer", "comparing_server", "free_port"]

MODEL = "words-1"
_QUOTED = re.compile(r"^=+\n(.*?)\n=+$", re.MULTILINE | re.DOTALL)


def compared(text: str) -> str:
    """The answer to a prompt with quoted captions."""
    words = [re.findall(r"[\w.]+", quoted) for quoted in _QUOTED.findall(text)]
    shared = [word for word in words[0] if all(word in other for other in words)] if words else []
    lines = ["Commonalities:", f"1. Object types: Both images show {' '.join(shared)}.", "Differences:"]
    for number, own in enumerate(words, 1):
        lines.append(f"{number}. Attributes: Image {number} shows {' '.join(w for w in own if w not in shared)}.")
    return "\n".join(lines)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_path = ""
    seconds = 0.0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] != MODEL:
            self._send(404, {"error": {"message": f"no model {asked['model']}", "code": "model_not_found"}})
            return
        parts = asked["messages"][-1]["content"]
        text = parts if isinstance(parts, str) else " ".join(part.get("text", "") for part in parts)
        name = hashlib.sha256(json.dumps(asked["messages"]).encode()).hexdigest()
        self._note({"asked": name})
        time.sleep(self.seconds)
        said = compared(text)
        self._note({"answered": name, "text": said})
        usage = {"prompt_tokens": len(text) // 4, "completion_tokens": len(said) // 4}
        message = {"role": "assistant", "content": said}
        self._send(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": MODEL}]})

    def _send(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note(self, said: Any) -> None:
        with open(self.log_path, "ab", buffering=0) as stream:  # one write, which appends whole
            stream.write(json.dumps(said).encode() + b"\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class ComparingServer:
    """The server as a process, which can be killed and started again on the same port."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        self.port, self.log, self.seconds = free_port(), log, seconds
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.jobs.comparing_server", str(self.port), str(self.log)]
        self._process = subprocess.Popen([*command, str(self.seconds)])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def noted(self, what: str, after: int = 0) -> list[dict[str, str]]:
        """The lines of the log that are "asked" or "answered", behind the first `after` lines."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        return [said for said in map(json.loads, lines[after:]) if what in said]

    def lines(self) -> int:
        return len(self.log.read_bytes().splitlines()) if self.log.exists() else 0

    def wait_for_answers(self, count: int, worker: subprocess.Popen[bytes]) -> None:
        """Until that many answers were computed; fails where the worker ends before."""
        deadline = time.monotonic() + 60
        while len(self.noted("answered")) < count:
            assert worker.poll() is None, "the command ended before its time"
            assert time.monotonic() < deadline
            time.sleep(0.005)


@contextmanager
def comparing_server(log: Path, seconds: float = 0.0) -> Iterator[ComparingServer]:
    """A server that runs until the block ends."""
    server = ComparingServer(log, seconds)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str]) -> None:
    _Handler.log_path = arguments[1]
    _Handler.seconds = float(arguments[2]) if len(arguments) > 2 else 0.0
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), _Handler).serve_forever()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(sys.argv[1:])
