"""Images are scaled as open_clip's transform scales them, to the last bit, without loading torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from index.encoder.scaling import Scaling


def random_images(count: int) -> list[Image.Image]:
    """Images of all sizes, and of those where rounding and padding differ: tiny, odd, long, of the model's own size."""
    chance = np.random.default_rng(3)
    sizes = [(1, 1), (32, 32), (48, 32), (32, 31), (31, 200), (150, 5), (640, 427)]
    sizes += [(int(w), int(h)) for w, h in chance.integers(12, 300, (count - len(sizes), 2))]
    return [Image.fromarray(chance.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"interpolation": "bilinear"},
        {"interpolation": "random"},
        {"resize_mode": "squash"},
        {"resize_mode": "squash", "size": (24, 32), "interpolation": "bilinear"},
        {"resize_mode": "longest", "fill_color": 9},
        {"resize_mode": "longest", "size": (33, 20)},
        {"size": (24, 33)},
        {"size": (33, 24), "interpolation": "bilinear"},
        {"size": [31, 31]},
    ],
    ids=str,
)
def test_pixels_are_those_of_open_clips_transform(changes: dict[str, Any]) -> None:
    cfg = PreprocessCfg(**({"size": 32} | changes))
    # Its last steps: to RGB, to a tensor, normalised.
    *steps, _, _, _ = image_transform_v2(cfg, is_train=False).transforms
    scaling = Scaling.of(cfg.size, cfg.resize_mode, cfg.interpolation, cfg.fill_color)
    for image in random_images(60):
        expected = image
        for step in steps:
            expected = step(expected)
        assert scaling(image).shape == (*scaling.size, 3)
        np.testing.assert_array_equal(scaling(image), np.asarray(expected), err_msg=str(image.size))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_become_rgb_as_open_clip_makes_them(mode: str) -> None:
    cfg = PreprocessCfg(size=32, resize_mode="longest", fill_color=7)
    transform = image_transform_v2(cfg, is_train=False)
    image = random_images(8)[-1].convert(mode)
    pixels = torch.from_numpy(Scaling.of(32, "longest", "bicubic", 7)(image).copy()).permute(2, 0, 1) / 255
    assert torch.equal(transform.transforms[-1](pixels), transform(image))


def test_no_torch_is_loaded() -> None:
    code = "import sys; import index.encoder.scaling; print([m for m in ('torch', 'torchvision') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
