"""Servers that give prepared answers: they refuse, break off or answer in another shape."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONCEPTS = ["red circle", "blue square", "green circle"]


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, the last one for ever; yields its URL and the requests that came."""
    asked: list[str] = []
    turns = itertools.chain(answers, itertools.repeat(answers[-1]))

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(f"{self.command} {self.path}")
            status, headers, body = next(turns)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status: int, error: str, **headers: str) -> Answer:
    """An error as the service sends it."""
    return status, headers, json.dumps({"error": error}).encode()


OK: Answer = (200, {}, b'{"row_id": 1}')
BUSY = {"Retry-After": "0"}


def lines(*values: dict[str, Any]) -> bytes:
    """A body of one JSON object a line."""
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def concept_line(name: str, caption: str = "c") -> dict[str, Any]:
    """The line of a concept with one row."""
    row = {"row_id": 3, "score": 0.5, "rank": 1, "mode": "t2i", "prompt": name, "both_ways": False, "caption": caption}
    return {"type": "concept", "name": name, "id": None, "hits": 1, "rows": [row]}


START = {"type": "start", "concepts": 2, "prompts": 2}
END = {
    "type": "end",
    "rows": 2,
    "hits": 2,
    "losses": [],
    "plans": {"t2i": "exact: few"},
    "partial": False,
    "missing": [],
}
WHOLE = lines(START, concept_line("dog"), concept_line("cat", "a line\u2028and another\x85"), END)
