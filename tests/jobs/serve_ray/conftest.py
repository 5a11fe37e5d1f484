"""A service on the tests' Ray: two groups of shards, an encoder and a front, for all tests of the service on Ray."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.serve_ray.start import ServeArgs, start
from tests.conftest import embed_store
from tests.index.vectors import build as build_index


@pytest.fixture(scope="session")
def sharded_store(tiny_clip_dir: Path, small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """33 rows; indexes of 3 shards of 11 rows: two groups have 1 and 2, rows 0-10 and 11-32."""
    config = EmbedConfig(
        source=str(small_corpus),
        out=str(tmp_path_factory.mktemp("sharded") / "store"),
        model=ModelSpec(model_dir=str(tiny_clip_dir)),
        device="cpu",
    )
    store = embed_store(config)
    remember_model(store.path, config.model)
    for modality in ("image", "text"):
        build_index(IndexConfig(str(store.path), modality, shard_rows=11, queries=10))
    return EmbeddingStore.open(store.path)


@pytest.fixture(scope="package")
def url(ray_up: None, sharded_store: EmbeddingStore) -> Iterator[str]:
    """The service's address."""
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    args = ServeArgs(
        store=str(sharded_store.path),
        shard_groups=2,
        encoder_cpus=0.1,
        shard_cpus=0.1,
        front_cpus=0.1,
        deadline_seconds=20,
        settings={"queue": 100, "client_share": 1.0},
    )
    start(args, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()  # type: ignore[no-untyped-call]
