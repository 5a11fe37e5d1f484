"""A store of several shards with rows that are not indexed yet and rows that are forgotten, for shared searches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import write_manifest
from index.store.store_model import remember_model
from retrieval.query_blocks import RetrieveConfig
from retrieval.retrieve import retrieval_config
from tests.index.vectors import build
from tests.retrieval.stores import forget, make_store, random_unit

ROWS, INDEXED, SHARD_ROWS = 900, 600, 200
CONCEPTS = ("red circle", "blue square", "green", "circle", "yellow square")


def shared_world(folder: Path, model_dir: Path, codec: str = "fp16", **choices: Any) -> EmbeddingStore:
    """ROWS random rows of the tiny CLIP's dimension: INDEXED in three shards, a tail, rows forgotten in both."""
    spec = ModelSpec(model_dir=str(model_dir))
    model = dict(load_encoder(spec).fingerprint)
    store = make_store(folder, random_unit(ROWS, 16, 1), random_unit(ROWS, 16, 2), parts=3, model=model)
    remember_model(store.path, spec)
    whole = store.manifest
    write_manifest(str(store.path), replace(whole, parts=whole.parts[:2]))
    for modality in ("image", "text"):
        asked: dict[str, Any] = {"shard_rows": SHARD_ROWS, "queries": 20, "codec": codec, **choices}
        build(IndexConfig(str(store.path), modality, **asked))
    write_manifest(str(store.path), whole)
    forget(EmbeddingStore.open(store.path), [3, 250, 251, 700])
    return EmbeddingStore.open(store.path)


def shared_config(store: EmbeddingStore, out: Path, **choices: Any) -> RetrieveConfig:
    """A retrieval in five blocks of seven prompts, in both modes."""
    asked = {"templates": "simple", "k": 20, "block_queries": 7, **choices}
    return retrieval_config(store.path, CONCEPTS, out=out, **asked)


def retrieve_arguments(config: RetrieveConfig) -> dict[str, Any]:
    """The arguments of `retrieve` that make this configuration, beside store, concepts and out."""
    names = ("mode", "k", "templates", "rules", "reserve", "method", "block_queries")
    return {name: getattr(config, name) for name in names}
