"""The served store, the server, an HTTP client and a browser, for the tests of the service and of its clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.index_job import run_index
from tests.browser import browser, page
from tests.serving import Serve, serving

__all__ = ["browser", "page"]


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


@pytest.fixture(scope="module")
def url(served_store: EmbeddingStore, serve: Serve) -> Iterator[str]:
    """The URL of the served store with the default settings."""
    with serve(served_store) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    """An HTTP client of `url`."""
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client
