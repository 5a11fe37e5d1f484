"""The vector of a box: a ResNet's is that of the box as an image, a transformer's the mean of its patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.region_vectors import region_pixels, region_vectors
from tests.customize.clip.evaluate.test_box_ap import boxes


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_the_box_around_a_whole_image_has_the_image_vector(tiny_resnet: EvalModel) -> None:
    image = noise(32, 32)
    pixels = region_pixels(tiny_resnet, 32)(image)[None]
    with torch.inference_mode():
        whole = tiny_resnet.model.encode_image(pixels)
        found = region_vectors(tiny_resnet, pixels, boxes((0, 0, 32, 32)), image.size)
    torch.testing.assert_close(found, torch.nn.functional.normalize(whole, dim=-1))


def test_a_resnet_sees_boxes_of_one_image_apart_and_at_high_resolution(tiny_resnet: EvalModel) -> None:
    assert region_pixels(tiny_resnet)(Image.new("RGB", (60, 30))).shape == (3, 672, 1344)  # 1,333 at most, rounded
    assert region_pixels(tiny_resnet)(Image.new("RGB", (64, 48))).shape == (3, 800, 1056)
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (48, 0, 96, 64))
    pixels = region_pixels(tiny_resnet, 64)(image)[None]
    with torch.inference_mode():
        found = region_vectors(tiny_resnet, pixels, boxes(*[(x, 0, x + 32, 32) for x in range(65)]), image.size)
    assert found.shape == (65, 16)  # more than are cut at the same time
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(65))
    assert found[0] @ found[64] < found[0] @ found[8] - 1e-4  # red and blue, red and red


def test_a_transformer_keeps_its_own_square_by_default(tiny: EvalModel) -> None:
    assert region_pixels(tiny)(Image.new("RGB", (60, 30))).shape == (3, 32, 32)
    assert region_pixels(tiny, 64)(Image.new("RGB", (60, 30))).shape == (3, 64, 128)
    image = noise(60, 30)
    pixels = region_pixels(tiny)(image)[None]
    with torch.inference_mode():
        found = region_vectors(tiny, pixels, boxes((0, 0, 30, 30), (30, 0, 60, 30)), image.size)
    assert found.shape == (2, 16)
    assert found.norm(dim=-1).tolist() == [pytest.approx(1.0), pytest.approx(1.0)]
