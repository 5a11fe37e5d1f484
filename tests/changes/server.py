"""The service of a sequence, in a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from index.store.embedding_store import EmbeddingStore
from retrieval.service.app import create_app
from retrieval.service.generations import generation_name
from retrieval.service.local_backend import LocalBackend
from retrieval.service.settings import Settings
from tests.changes.process import context

SETTINGS = Settings(reload_seconds=0.02, name="store")
# Seconds in which a service must have started, or opened a new generation.
_PATIENCE = 20.0


class Server:
    """A service of the store at `path`. log: where it writes what it has to say."""

    def __init__(self, path: str, log: Path) -> None:
        self._path, self._log = path, log
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.close()
        self._process = context().Process(target=_serve, args=(self._path, port, str(self._log)), daemon=True)
        self._process.start()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False, trust_env=False)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.client.get("/healthz")
                return
            except httpx.ConnectError:
                assert self._process.is_alive(), f"no service: {self.log()[-2000:]}"
                assert time.monotonic() < end, "the service does not answer"
                time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, as the system does when memory is short."""
        self.client.close()
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text() if self._log.exists() else ""

    def state(self) -> dict[str, Any]:
        """Its answer to `GET /indexes`."""
        answer = self.client.get("/indexes")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def wait_for_generation(self) -> None:
        """Wait until it serves the store as it is now."""
        end = time.monotonic() + _PATIENCE
        while self.state()["generation"] != (now := generation_name(EmbeddingStore.open(self._path))):
            assert time.monotonic() < end, f"generation {now} was not opened: {self.log()[-2000:]}"
            time.sleep(0.01)


def _serve(path: str, port: int, log: str) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    app = create_app(LocalBackend(EmbeddingStore.open(path), settings=SETTINGS), SETTINGS)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
