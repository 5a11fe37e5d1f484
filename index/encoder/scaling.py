"""Scaling images to a model's size with Pillow alone: the geometry of open_clip's validation transform.

Processes that decode images import this instead of torchvision, whose torch takes seconds and 500 MB in each process.
Tests compare the pixels with those of open_clip's own transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

__all__ = ["Scaling"]

Pixels = npt.NDArray[np.uint8]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Scaling:
    """What `open_clip.transform.image_transform` does to an image before it is normalised.

    Attributes:
        size: (height, width) of the pixels.
        mode: "shortest" scales the shorter side and crops the middle, "longest" scales the longer side and pads,
            "squash" changes the aspect ratio.
        interpolation: "bicubic" or "bilinear".
        fill: the gray value of padding in mode "longest".
    """

    size: tuple[int, int]
    mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int = 0

    @classmethod
    def of(cls, size: int | Sequence[int], resize_mode: str, interpolation: str, fill_color: int) -> Scaling:
        """The scaling of an open_clip `PreprocessCfg` with these fields."""
        height, width = (size, size) if isinstance(size, int) else size
        mode: Literal["shortest", "longest", "squash"] = "shortest"
        if resize_mode == "longest":
            mode = "longest"
        elif resize_mode == "squash":
            mode = "squash"
        # open_clip scales to a size that is not square with its default filter.
        linear = interpolation == "bilinear" and (mode != "shortest" or height == width)
        return cls((height, width), mode, "bilinear" if linear else "bicubic", fill_color)

    def __call__(self, image: Image.Image) -> Pixels:
        """The image as the model sees it, before normalising: uint8 [height, width, 3]."""
        width, height = self._scaled_size(*image.size)
        image = image.resize((width, height), _FILTERS[self.interpolation])
        if self.mode != "squash":
            image = self._cropped(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        to_height, to_width = self.size
        if self.mode == "squash":
            return to_width, to_height
        if self.mode == "shortest" and to_height == to_width:  # torchvision's Resize
            short, long = sorted((width, height))
            scaled = int(to_height * long / short)
            return (to_height, scaled) if width <= height else (scaled, to_height)
        ratios = height / to_height, width / to_width
        ratio = max(ratios) if self.mode == "longest" else min(ratios)  # open_clip's ResizeKeepRatio
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _cropped(self, image: Image.Image) -> Image.Image:
        """The middle of the image, which is padded where it is too small."""
        height, width = self.size
        wider, higher = max(0, width - image.width), max(0, height - image.height)
        if wider or higher:
            fill = self.fill if self.mode == "longest" else 0
            color = fill if len(image.getbands()) == 1 else (fill,) * len(image.getbands())
            border = wider // 2, higher // 2, (wider + 1) // 2, (higher + 1) // 2
            image = ImageOps.expand(image, border, color)
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        return image.crop((left, top, left + width, top + height))
