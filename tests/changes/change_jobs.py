"""What a sequence's processes do: the jobs of embed, adopt, forget, compact, index and retrieve."""

from __future__ import annotations

from typing import Any

import index.encoder.loading
import retrieval.retrieve  # noqa: F401  # imported before processes are forked
from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig
from index.store.adopt import adopt_store
from index.store.compact import compact_store
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from jobs.embed_job import run_embed
from jobs.index_job import run_index
from retrieval import retrieve
from tests.changes.world import TableEncoder, World

__all__ = ["compact", "forget", "grow", "index_store", "select"]


def grow(world: World, source: str, store: str) -> None:
    """Take all samples of the source into the store."""
    _one_thread()
    if world.kind == "adopted":
        adopt_store(store)
        return
    table: Any = TableEncoder(world)
    index.encoder.loading.load_encoder = lambda *_: table
    run_embed(EmbedConfig(source, store, ModelSpec("ViT-B-32", random_seed=0), batch_size=64, decode_threads=1))


def forget(store: str, given: dict[str, list[Any]]) -> None:
    """Forget rows by `row_ids`, `keys`, `urls` or `sha256`."""
    forget_rows(EmbeddingStore.open(store), **given)


def compact(store: str) -> None:
    """Erase what is forgotten."""
    compact_store(store)


def index_store(config: IndexConfig, modality: str) -> None:
    """Index the store."""
    _one_thread()
    run_index(config, modality)


def select(world: World, store: str, out: str, names: list[str], options: dict[str, Any]) -> None:
    """Retrieve for a concept list."""
    _one_thread()
    opened = EmbeddingStore.open(store)
    table: Any = TableEncoder(world, dict(opened.fingerprint))
    retrieve(opened, names, out=out, encoder=table, **options)


def _one_thread() -> None:
    import faiss
    import torch

    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
