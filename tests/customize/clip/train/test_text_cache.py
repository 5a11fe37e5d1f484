"""Embeddings of a locked text tower: those of the store, and those of one pass over the distinct captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from customize.clip.model_folder import LoadedModel
from customize.clip.train.pairs import Pairs
from customize.clip.train.text_cache import StoreTexts, compute_texts
from index.store.embedding_store import EmbeddingStore

ROWS = np.array([5, 0, 32, 5])


def computed(pairs: Pairs, loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        vectors: torch.Tensor = loaded.model.encode_text(loaded.tokenizer(pairs.captions(ROWS)), normalize=True)
    return vectors


def test_the_stores_texts_are_those_of_the_pairs_captions(
    pairs: Pairs, known_store: EmbeddingStore, tiny_model: LoadedModel
) -> None:
    texts = StoreTexts(pairs, known_store)
    found = texts.vectors(ROWS)
    assert (texts.source, found.dtype) == ("the store", torch.float32)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(found, computed(pairs, tiny_model), atol=2e-3, rtol=0)  # the store has float16


def test_each_distinct_caption_is_embedded_once(pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = str(tmp_path / "texts.npy")
    texts = compute_texts(pairs, tiny_model.model, tiny_model.tokenizer, path, "cpu", batch_size=5)
    assert texts.source == "one pass of the text tower"
    assert np.load(path).shape == (len(pairs.distinct_captions()), 16)
    found = texts.vectors(ROWS)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(found, computed(pairs, tiny_model), atol=2e-3, rtol=0)  # kept in float16


def test_an_existing_file_is_read_without_the_model(pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = str(tmp_path / "texts.npy")
    first = compute_texts(pairs, tiny_model.model, tiny_model.tokenizer, path, "cpu")
    again = compute_texts(pairs, None, None, path, "cpu")
    torch.testing.assert_close(again.vectors(ROWS), first.vectors(ROWS))
