"""A served store, and a real HTTP server around any store."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.index_job import run_index
from retrieval.service.app import create_app
from retrieval.service.local import LocalBackend
from retrieval.service.settings import Settings

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def served_store(
    small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingStore:
    """`small_store` with both indexes: 33 drawn shapes, captions such as "a red circle", the tiny CLIP."""
    folder = tmp_path_factory.mktemp("served") / "shapes"
    shutil.copytree(small_store.path, folder)
    remember_model(folder, ModelSpec(model_dir=str(tiny_clip_dir)))
    run_index(IndexConfig(store=str(folder)))
    return EmbeddingStore.open(folder)


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`with serve(store, settings) as url:` runs the service on a free port of 127.0.0.1."""
    return serving


@contextmanager
def serving(store: EmbeddingStore | Path, settings: Settings | None = None) -> Iterator[str]:
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
    settings = settings or Settings()
    app = create_app(LocalBackend(opened, settings=settings), settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end and thread.is_alive():
        time.sleep(0.01)
    assert server.started, "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="module")
def client(served_store: EmbeddingStore, serve: Serve) -> Iterator[httpx.Client]:
    """An HTTP client of the served store with the default settings."""
    with serve(served_store) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client
