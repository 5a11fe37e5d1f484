"""Patch vectors and keys of both kinds of image towers, at the model's own size and at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.dense import dense_features, dense_side, square_pixels
from customize.clip.evaluate.features import EvalModel
from index.errors import BadInput
from tests.customize.clip.tiny_models import RESNET, TIMM, clip


def test_each_patch_has_a_vector_and_a_key_and_the_tower_is_not_changed(tiny: EvalModel) -> None:
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = tiny.model.encode_image(pixels)
        found = dense_features(tiny, pixels)
        assert found.vectors.shape == (2, 4, 4, 16)
        assert found.keys.shape == (2, 16, 32)
        torch.testing.assert_close(found.vectors.norm(dim=-1), torch.ones(2, 4, 4))
        # To rounding: the same computation may be split among threads in another way.
        torch.testing.assert_close(tiny.model.encode_image(pixels), before)


def test_larger_images_have_more_patches(tiny: EvalModel) -> None:
    with torch.inference_mode():
        assert dense_features(tiny, torch.randn(1, 3, 64, 48)).vectors.shape == (1, 8, 6, 16)
    assert dense_side(tiny) == 32
    with pytest.raises(BadInput, match="multiple of the patch of 8"):
        dense_side(tiny, 60)


def test_a_patch_of_one_colour_has_the_same_vector_wherever_its_image_has_that_colour(tiny: EvalModel) -> None:
    pixels = square_pixels(tiny, 32)(Image.new("RGB", (50, 20), "red"))[None]
    with torch.inference_mode():
        vectors = dense_features(tiny, pixels).vectors[0]
    assert pixels.shape == (1, 3, 32, 32)
    # Patches differ in their positions alone, so much less than those of two colours.
    assert (vectors.flatten(0, 1) @ vectors[0, 0]).min() > 0.5


def test_square_pixels_keep_the_whole_image_and_are_normalised(tiny: EvalModel) -> None:
    half = np.zeros((20, 60, 3), np.uint8)
    half[:, 30:] = 255
    pixels = square_pixels(tiny, 32)(Image.fromarray(half))
    assert pixels[0, 16, 0] == pytest.approx(-2.0)  # black: (0 - 0.5) / 0.25
    assert pixels[0, 16, 31] == pytest.approx(2.0)


def test_a_resnet_has_a_patch_for_each_place_of_its_last_grid() -> None:
    model = EvalModel(clip(RESNET), lambda image: torch.empty(0), lambda texts: texts)
    with torch.inference_mode():
        found = dense_features(model, torch.randn(1, 3, 32, 32))
    assert found.vectors.shape == (1, 1, 1, 16)
    assert dense_side(model) == 32
    with pytest.raises(BadInput, match="only a ViT takes other sides"):
        dense_side(model, 64)


def test_a_tower_without_such_patches_is_named() -> None:
    model = EvalModel(clip(TIMM), lambda image: torch.empty(0), lambda texts: texts)
    with pytest.raises(BadInput, match="dense features of TimmModel"):
        dense_features(model, torch.randn(1, 3, 32, 32))
