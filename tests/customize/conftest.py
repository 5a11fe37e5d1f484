"""What the tests of training share: a store that knows its model, a real selection from it, and its export as tars."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from retrieval.export.export import export_selection
from retrieval.retrieve import retrieve


@pytest.fixture(scope="session")
def known_store(
    small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingStore:
    """`small_store` as the embed command leaves it: with a note of where its model lies."""
    folder = tmp_path_factory.mktemp("known") / "store"
    shutil.copytree(small_store.path, folder)
    remember_model(folder, ModelSpec(model_dir=str(tiny_clip_dir)))
    return EmbeddingStore.open(folder)


@pytest.fixture(scope="session")
def small_selection(known_store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All 33 rows of the store, for four concepts; read it, don't change it."""
    out = tmp_path_factory.mktemp("selection") / "selection"
    concepts = ["red circle", "green square", "blue circle", "purple square"]
    return retrieve(known_store, concepts, out=out, mode="t2i", k=33, templates="a {}", method="exact").path


@pytest.fixture(scope="session")
def small_export(small_selection: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`small_selection` as webdataset tars of 10."""
    return export_selection(small_selection, tmp_path_factory.mktemp("export") / "export", shard_size=10).out
