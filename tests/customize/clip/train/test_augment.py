"""The released augmentation takes every draw, and gives an image the same pixels in whichever process it is drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.train.augment import (
    _posterize,
    augmentation_of,
    mild_transform,
    released_transform,
    seed_sample,
)

PREPROCESS = {"size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
GRADIENT = Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3))


def test_no_draw_is_refused() -> None:
    """One of the 15 operations asks Pillow for 0 bits, which it refuses: once in about 700 images."""
    transform = released_transform(PREPROCESS)
    for row in range(1500):
        seed_sample(0, 0, row)
        assert transform(GRADIENT).shape == (3, 32, 32)


@pytest.mark.parametrize(("bits", "values"), [(0, {0}), (1, {0, 128}), (8, set(range(256)))])
def test_posterizing_takes_every_number_of_bits(bits: int, values: set[int]) -> None:
    gray = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert set(np.array(_posterize(gray, bits)).flatten().tolist()) == values


def test_the_augmentation_of_an_image_follows_from_its_seed_alone() -> None:
    transform = released_transform(PREPROCESS)
    drawn = []
    for row in (5, 6, 5):
        seed_sample(1, 2, row)
        drawn.append(transform(GRADIENT))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_augmentation_grows_with_the_number_of_pairs() -> None:
    assert [augmentation_of(pairs) for pairs in (33, 99_999, 100_000, 10_000_000)] == [
        "none",
        "none",
        "mild",
        "released",
    ]


def test_the_mild_one_keeps_most_of_the_image() -> None:
    transform = mild_transform(PREPROCESS)
    drawn = []
    for row in (5, 6, 5):
        seed_sample(1, 2, row)
        drawn.append(transform(GRADIENT))
    assert drawn[0].shape == (3, 32, 32)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    white = Image.new("RGB", (48, 48), "white")
    assert float(transform(white).min()) > 1.9  # nothing is erased or recoloured


def test_seed_epoch_and_row_all_change_the_draws() -> None:
    def draws(seed: int, epoch: int, row: int) -> tuple[float, float, float]:
        seed_sample(seed, epoch, row)
        return random.random(), float(np.random.random()), float(torch.rand(1))

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = [draws(*key) for key in keys]
    for generator in zip(*found, strict=True):
        assert len(set(generator)) == len(keys)
    assert draws(0, 0, 0) == found[0]
