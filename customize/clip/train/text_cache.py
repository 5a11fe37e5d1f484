"""Text embeddings of a run whose text tower is locked: read from the store, so that the tower never runs in training.

A locked text tower gives a caption the same vector at every step. The store has it already, in float16 (a cosine of
two texts is off by at most about 1e-3). Pairs without a store (tars alone) are embedded once, each distinct caption
once, before the first step. Knows no images.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.train.pairs import Pairs
from index.files import atomic_file, exists, local_path
from index.store.embedding_store import EmbeddingStore

__all__ = ["ComputedTexts", "LockedTexts", "StoreTexts", "compute_texts"]

Rows = npt.NDArray[np.int64]


class LockedTexts(Protocol):
    """Where a locked text tower's embeddings come from; `source` says it in a few words."""

    source: str

    def vectors(self, rows: Rows) -> torch.Tensor:
        """Unit vectors float32 [n, d] of the pairs' captions."""


class StoreTexts:
    """The store's own text embeddings."""

    def __init__(self, pairs: Pairs, store: EmbeddingStore) -> None:
        assert pairs.row_ids is not None
        self.source = "the store"
        self._store, self._row_ids = store, pairs.row_ids

    def vectors(self, rows: Rows) -> torch.Tensor:
        return _unit(self._store.gather("text", self._row_ids[rows]))


class ComputedTexts:
    """Embeddings of the distinct captions, computed once: float16 [texts, d], memory-mapped."""

    def __init__(self, pairs: Pairs, path: str) -> None:
        self.source = "one pass of the text tower"
        self._text_of = pairs.text_of
        self._vectors = np.load(local_path(path), mmap_mode="r", allow_pickle=False)

    def vectors(self, rows: Rows) -> torch.Tensor:
        return _unit(self._vectors[self._text_of[rows]])


def compute_texts(pairs: Pairs, model: Any, tokenizer: Any, path: str, device: str, batch: int = 256) -> ComputedTexts:
    """Embed every distinct caption into `path` (.npy float16), unless it is there already."""
    if not exists(path):
        captions = pairs.distinct_captions()
        rows = []
        with torch.inference_mode():
            for first in range(0, len(captions), batch):
                tokens = tokenizer(captions[first : first + batch]).to(device)
                rows.append(model.encode_text(tokens, normalize=True).float().cpu().numpy().astype(np.float16))
        with atomic_file(path) as partial, partial.open("wb") as stream:
            np.save(stream, np.concatenate(rows), allow_pickle=False)
    return ComputedTexts(pairs, path)


def _unit(vectors: npt.NDArray[Any]) -> torch.Tensor:
    """float16 rows to float32 ones of unit length again."""
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(vectors, dtype=np.float32)), dim=-1)
