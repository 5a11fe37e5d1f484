"""Image augmentation: that of REACT's released trainer, and a mild one.

The released one is timm's: crops of 0.08 to 1 of the area, flips 0.5, colour jitter 0.4, RandAugment
rand-m9-mstd0.5-inc1, random erasing 0.25. In timm RandAugment replaces the colour jitter. Flips and crops make captions
wrong that say "left", "right" or a number. It was made for ten million pairs; a model that sees a few thousand pairs so
distorted becomes worse than it was. The mild one is open_clip's own: crops of 0.9 to 1 of the area.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps

__all__ = ["augmentation_of", "mild_transform", "released_transform", "seed_sample"]

# The arguments of timm.data.create_transform that the released trainer uses (microsoft/react).
RELEASED: dict[str, Any] = {
    "scale": (0.08, 1.0),
    "hflip": 0.5,
    "color_jitter": 0.4,
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "re_prob": 0.25,
    "re_mode": "pixel",
    "interpolation": "bicubic",
}


# Our choices, not compared; the released augmentation was used with 6 to 10 million pairs.
MILD_FROM, RELEASED_FROM = 100_000, 1_000_000


def released_transform(preprocess_cfg: dict[str, Any]) -> Callable[[Image.Image], torch.Tensor]:
    """Make the transform: PIL image -> float32 [3, height, width], normalised.

    The transform draws from the global generators of Python, numpy and torch: call `seed_sample` before each image.

    preprocess_cfg: `size`, `mean` and `std` of the image tower.
    """
    from timm.data.transforms_factory import create_transform

    size = preprocess_cfg["size"]
    shape = (3, size, size) if isinstance(size, int) else (3, *size)
    transform: Any = create_transform(
        input_size=shape, is_training=True, mean=preprocess_cfg["mean"], std=preprocess_cfg["std"], **RELEASED
    )
    for step in transform.transforms:
        for operation in getattr(step, "ops", ()):
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
    typed: Callable[[Image.Image], torch.Tensor] = transform
    return typed


def mild_transform(preprocess_cfg: dict[str, Any]) -> Callable[[Image.Image], torch.Tensor]:
    """As `released_transform`, with open_clip's own augmentation: crops of 0.9 to 1 of the area."""
    from open_clip.transform import image_transform

    transform: Callable[[Image.Image], torch.Tensor] = image_transform(
        preprocess_cfg["size"],
        is_train=True,
        mean=preprocess_cfg["mean"],
        std=preprocess_cfg["std"],
        interpolation=preprocess_cfg.get("interpolation", "bicubic"),
    )
    return transform


def augmentation_of(pairs: int) -> Literal["none", "mild", "released"]:
    """The default augmentation for so many pairs."""
    if pairs < MILD_FROM:
        return "none"
    return "mild" if pairs < RELEASED_FROM else "released"


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Posterize to `bits`. The strongest magnitude asks for 0 bits, a black image, which newer Pillows refuse."""
    if bits < 1:
        return Image.new(image.mode, image.size)
    return ImageOps.posterize(image, bits) if bits < 8 else image


def seed_sample(seed: int, epoch: int, row: int) -> None:
    """Seed the global generators for one image, so that any process augments it in the same way at any time."""
    number = int(np.random.SeedSequence((seed, epoch, row)).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
