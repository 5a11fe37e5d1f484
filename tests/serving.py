"""A real HTTP server around the service, for tests of the service, its clients and its pages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from index.store.embedding_store import EmbeddingStore
from retrieval.service.app import create_app
from retrieval.service.http_server import server_config
from retrieval.service.local_backend import LocalBackend
from retrieval.service.new_connections import Server
from retrieval.service.settings import Settings

__all__ = ["Serve", "run_app", "serving"]

Serve = Callable[..., AbstractContextManager[str]]


@contextmanager
def serving(store: EmbeddingStore | Path, settings: Settings | None = None) -> Iterator[str]:
    """`with serving(store, settings) as url:` runs the service on a free port of 127.0.0.1."""
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
    settings = settings or Settings()
    with run_app(create_app(LocalBackend(opened, settings=settings), settings)) as url:
        yield url


@contextmanager
def run_app(app: FastAPI) -> Iterator[str]:
    """Run an app on a free port of 127.0.0.1; leaving the block stops it after it has finished what runs."""
    if hasattr(app.state, "stores"):
        config = server_config(app, 5)
    else:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    server = Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end and thread.is_alive():
        time.sleep(0.01)
    assert server.started, "the server did not start"
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
