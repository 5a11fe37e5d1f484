"""Pixels and the store's embeddings as inputs of the image tower, and images that cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from customize.clip.model_folder import LoadedModel
from customize.clip.train.augment import released_transform
from customize.clip.train.image_inputs import MOST_BROKEN, Pixels, StoreImages, decode_row
from customize.clip.train.pairs import Pairs
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from tests.customize.clip.train.runs import broken_pairs

PREPROCESS = {"size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def test_pixels_are_those_of_the_models_own_transform(pairs: Pairs, tiny_model: LoadedModel) -> None:
    inputs = Pixels(pairs, tiny_model.preprocess, None)
    row, pixels = inputs.load(4, epoch=0)
    assert (row, pixels.shape, pixels.dtype) == (4, (3, 32, 32), torch.float32)
    assert not inputs.random
    assert torch.equal(inputs.load(4, epoch=9)[1], pixels)
    features = inputs.features(tiny_model.model, pixels[None])
    assert features.shape == (1, 16)


def test_augmented_pixels_follow_from_seed_epoch_and_row(pairs: Pairs) -> None:
    inputs = Pixels(pairs, released_transform(PREPROCESS), 7)
    assert inputs.random
    first = inputs.load(4, epoch=0)[1]
    assert not torch.equal(inputs.load(4, epoch=1)[1], first)
    assert torch.equal(inputs.load(4, epoch=0)[1], first)
    other = Pixels(pairs, released_transform(PREPROCESS), 8)
    assert not torch.equal(other.load(4, epoch=0)[1], first)


def test_the_stores_embeddings_are_the_features(
    pairs: Pairs, known_store: EmbeddingStore, tiny_model: LoadedModel
) -> None:
    inputs = StoreImages(pairs, known_store)
    row, vector = inputs.load(4, epoch=0)
    assert row == 4
    pixels = Pixels(pairs, tiny_model.preprocess, None)
    with torch.no_grad():
        computed = pixels.features(tiny_model.model, pixels.load(4, 0)[1][None])[0]
    unit = torch.nn.functional.normalize(computed, dim=0)
    torch.testing.assert_close(vector, unit, atol=2e-3, rtol=0)  # the store has float16
    assert torch.equal(inputs.features(tiny_model.model, vector[None]), vector[None])


def test_a_broken_image_is_replaced_by_the_next(tmp_path: Path) -> None:
    pairs = broken_pairs(tmp_path, {2, 5}, 6)
    assert [decode_row(pairs, row)[0] for row in range(6)] == [0, 1, 3, 3, 4, 0]
    assert decode_row(pairs, 2)[1].getpixel((0, 0)) == (30, 10, 200)


def test_many_broken_images_in_a_row_are_an_error(tmp_path: Path) -> None:
    count = MOST_BROKEN + 2
    pairs = broken_pairs(tmp_path, set(range(1, count)), count)
    assert decode_row(pairs, 3)[0] == 0
    with pytest.raises(BadInput, match=f"{MOST_BROKEN} images in a row cannot be decoded \\(from 01 on: "):
        decode_row(pairs, 1)
