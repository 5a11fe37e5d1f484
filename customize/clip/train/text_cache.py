"""Text embeddings for runs with a locked text tower, so that the tower does not run in training.

A locked text tower gives a caption the same vector at every step. The store has these vectors in float16 (the cosine of
two texts is off by about 1e-3 at most). Without a store each distinct caption is embedded once before the first step.
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
    """The embeddings of a locked text tower; `source` says for the summary where they come from."""

    source: str

    def vectors(self, rows: Rows) -> torch.Tensor:
        """The embeddings of the captions of `rows`: float32 [n, d], rows of unit length."""


class StoreTexts:
    """Text embeddings of the store."""

    def __init__(self, pairs: Pairs, store: EmbeddingStore) -> None:
        assert pairs.row_ids is not None
        self.source = "the store"
        self._store, self._row_ids = store, pairs.row_ids

    def vectors(self, rows: Rows) -> torch.Tensor:
        return _unit(self._store.gather("text", self._row_ids[rows]))


class ComputedTexts:
    """Embeddings of the distinct captions in a memory-mapped file, float16 [texts, d]."""

    def __init__(self, pairs: Pairs, path: str) -> None:
        self.source = "one pass of the text tower"
        self._text_of = pairs.text_of
        self._vectors = np.load(local_path(path), mmap_mode="r", allow_pickle=False)

    def vectors(self, rows: Rows) -> torch.Tensor:
        return _unit(self._vectors[self._text_of[rows]])


def compute_texts(
    pairs: Pairs, model: Any, tokenizer: Any, path: str, device: str, batch_size: int = 256
) -> ComputedTexts:
    """Embed each distinct caption into `path` (.npy, float16) where it does not exist; open it."""
    if not exists(path):
        captions = pairs.distinct_captions()
        rows = []
        with torch.inference_mode():
            for first in range(0, len(captions), batch_size):
                tokens = tokenizer(captions[first : first + batch_size]).to(device)
                rows.append(model.encode_text(tokens, normalize=True).float().cpu().numpy().astype(np.float16))
        with atomic_file(path) as partial, partial.open("wb") as stream:
            np.save(stream, np.concatenate(rows), allow_pickle=False)
    return ComputedTexts(pairs, path)


def _unit(vectors: npt.NDArray[Any]) -> torch.Tensor:
    """float16 rows to float32 rows of unit length."""
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(vectors, dtype=np.float32)), dim=-1)
