"""Vectors as CLIP's lie: clusters, captions near their images, and a gap between the two modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.graph.build import IndexConfig, IndexSummary, build_index_item, finish_index, plan_index_items
from index.store.embedding_store import EmbeddingStore
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


def build(config: IndexConfig) -> IndexSummary:
    """The whole index job here, item after item."""
    for item in plan_index_items(config):
        build_index_item(item, config)
    return finish_index(config)


def exact_ids(vectors: Halves, queries: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """The k best rows in float64, of equal scores the smaller id first."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
