"""Patch vectors and keys of both kinds of image towers, at the model's own size and at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import Example
from customize.clip.evaluate.dense import (
    dense_features,
    dense_side,
    prepared_images,
    scaled_pixels,
    square_pixels,
    windowed_features,
)
from customize.clip.evaluate.features import EvalModel
from customize.clip.gated import insert_gates
from customize.clip.towers import image_tower
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
    with torch.inference_mode():
        assert dense_features(model, torch.randn(1, 3, 64, 96)).vectors.shape == (1, 2, 3, 16)
    assert dense_side(model, 64) == 64
    with pytest.raises(BadInput, match="multiple of the patch of 32"):
        dense_side(model, 40)


def test_scaled_pixels_keep_the_shape_in_whole_patches(tiny: EvalModel) -> None:
    assert scaled_pixels(tiny, 64)(Image.new("RGB", (90, 60))).shape == (3, 64, 96)
    assert scaled_pixels(tiny, 60)(Image.new("RGB", (60, 90))).shape == (3, 88, 64)  # patches of 8
    assert scaled_pixels(tiny, 64)(Image.new("RGB", (1000, 100))).shape == (3, 24, 256)  # at most 4 times as long
    assert scaled_pixels(tiny, 16, 1.0)(Image.new("RGB", (1000, 10))).shape == (3, 8, 16)


def test_batches_hold_images_of_one_size(tiny: EvalModel) -> None:
    sizes = ((64, 64), (32, 32), (64, 32), (64, 32))
    examples = [Example(str(n), lambda size=size: Image.new("RGB", size)) for n, size in enumerate(sizes)]  # type: ignore[misc]
    batches = list(prepared_images(examples, scaled_pixels(tiny, 32), 2))
    assert [[(example.key, size) for example, size in about] for about, _ in batches] == [
        [("0", (64, 64)), ("1", (32, 32))],
        [("2", (64, 32)), ("3", (64, 32))],
    ]
    assert [pixels.shape for _, pixels in batches] == [(2, 3, 32, 32), (2, 3, 32, 64)]
    assert [len(pixels) for _, pixels in prepared_images(examples, scaled_pixels(tiny, 32))] == [1, 1, 1, 1]


@pytest.mark.parametrize("gates", [(), (1, 2)])
def test_windows_cover_an_image_and_agree_with_their_parts(gates: tuple[int, ...]) -> None:
    model = EvalModel(clip(), lambda image: torch.empty(0), lambda texts: texts)
    if gates:
        insert_gates(image_tower(model.model), gates)
        with torch.no_grad():
            for position in gates:
                model.model.visual.transformer.resblocks[position].gated_attn_block.alpha_attn.fill_(1.0)
    pixels = torch.randn(1, 3, 32, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = windowed_features(model, pixels, 32)
        left, right = dense_features(model, pixels[..., :32]), dense_features(model, pixels[..., 24:])
        middle = dense_features(model, pixels[..., 16:48])
        whole = dense_features(model, pixels)
        same = windowed_features(model, pixels, 56)
    assert found.vectors.shape == whole.vectors.shape == (1, 4, 7, 16)
    assert found.keys.shape == whole.keys.shape
    torch.testing.assert_close(found.vectors[:, :, :2], left.vectors[:, :, :2])  # in one window alone
    torch.testing.assert_close(found.vectors[:, :, 6], right.vectors[:, :, 3])
    both = left.vectors[:, :, 2] + middle.vectors[:, :, 0]
    torch.testing.assert_close(found.vectors[:, :, 2], torch.nn.functional.normalize(both, dim=-1))
    torch.testing.assert_close(same.vectors, whole.vectors)
    with pytest.raises(BadInput, match="window 20: must be a multiple of the patch of 8"):
        windowed_features(model, pixels, 20)


def test_an_open_gate_changes_dense_features_at_every_resolution(tiny: EvalModel) -> None:
    plain = EvalModel(clip(), tiny.preprocess, lambda texts: texts)
    gated = EvalModel(clip(), tiny.preprocess, lambda texts: texts)
    insert_gates(image_tower(gated.model), (1, 2))
    pixels = scaled_pixels(plain, 48)(Image.new("RGB", (50, 30), "red"))[None]
    with torch.inference_mode():
        expected = dense_features(plain, pixels)
        torch.testing.assert_close(dense_features(gated, pixels).vectors, expected.vectors)  # closed
        gated.model.visual.transformer.resblocks[2].gated_attn_block.alpha_attn.fill_(1.0)
        opened = dense_features(gated, pixels)
    assert opened.vectors.shape == expected.vectors.shape == (1, 6, 10, 16)
    assert (opened.vectors - expected.vectors).abs().max() > 1e-3


def test_a_tower_without_such_patches_is_named() -> None:
    model = EvalModel(clip(TIMM), lambda image: torch.empty(0), lambda texts: texts)
    with pytest.raises(BadInput, match="dense features of TimmModel"):
        dense_features(model, torch.randn(1, 3, 32, 32))
