"""Vectors as CLIP's lie: clusters, captions near their images, and a gap between the two modalities."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.build import (
    IndexConfig,
    IndexSummary,
    build_index_item,
    finish_index,
    prepare_layout,
    undone_index_items,
)
from index.graph.layout_build import GroupWork
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from tests.retrieval.stores import make_store

Halves = npt.NDArray[np.float16]


def clustered(rows: int, dim: int = 32, clusters: int = 40, seed: int = 0) -> tuple[Halves, Halves]:
    """Unit rows [rows, dim]: images, and captions that share their clusters across a gap."""
    rng = np.random.default_rng(seed)
    centers, gap = rng.normal(size=(clusters, dim)), rng.normal(size=(2, dim))
    shared = centers[rng.integers(0, clusters, rows)] + 0.6 * rng.normal(size=(rows, dim))
    image, text = (shared + 0.6 * rng.normal(size=(rows, dim)) + 1.5 * side for side in gap)
    return _unit(image), _unit(text)


def _unit(vectors: npt.NDArray[np.float64]) -> Halves:
    rows: Halves = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return rows


def vector_store(folder: Path, image: Halves, text: Halves | None = None, parts: int = 3) -> EmbeddingStore:
    """A store of these vectors whose images are not looked at."""
    return make_store(folder, image, text, images=[b""] * len(image), parts=parts)


def grow(store: EmbeddingStore, image: Halves, text: Halves | None = None) -> EmbeddingStore:
    """Add a part with these vectors to the store, and open it again."""
    number = len(store.parts)
    with TemporaryDirectory() as folder:
        more = vector_store(Path(folder), image, text, parts=1)
        (part,) = more.parts
        files = {}
        for kind, record in part.files.items():
            path = record.path.replace("0000", f"{number:04d}")
            shutil.copy(more.path / record.path, store.path / path)
            files[kind] = replace(record, path=path)
    manifest = read_manifest(str(store.path))
    added = replace(part, name=f"{number:04d}", first_row=manifest.rows, files=files)
    write_manifest(str(store.path), replace(manifest, parts=(*manifest.parts, added)))
    return EmbeddingStore.open(store.path)


def build(config: IndexConfig) -> IndexSummary:
    """The whole index job here, item after item."""
    prepare_layout(config, run_here)
    for item in undone_index_items(config):
        build_index_item(item, config)
    return finish_index(config)


def run_here(function: Callable[[Any, GroupWork], Any], items: Sequence[Any], work: GroupWork, label: str) -> list[Any]:
    """The items of a layout, one after the other."""
    return [function(item, work) for item in items]


def exact_ids(vectors: Halves, queries: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """The k best rows in float64, of equal scores the smaller id first."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
