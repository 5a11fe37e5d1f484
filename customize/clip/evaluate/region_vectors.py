"""A vector for each box of an image, comparable with texts.

A ResNet does as in RegionCLIP (arXiv 2112.09106): the image is large, RoIAlign cuts the boxes from the grid of the last
stage but one, and the last stage and the attention pooling turn each cut into a vector as they do a whole image. For a
vision transformer, which has no such stages, RoIAlign averages the patch vectors of `customize.clip.evaluate.dense`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from customize.clip.evaluate.box_ap import Boxes
from customize.clip.evaluate.dense import dense_features, dense_side, is_resnet, scaled_pixels, square_pixels
from customize.clip.evaluate.features import EvalModel

__all__ = ["RESNET_RESOLUTION", "region_pixels", "region_vectors"]

RESNET_RESOLUTION = 800  # pixels of the shorter side, RegionCLIP's MIN_SIZE_TEST
_LONGEST = 1333 / 800  # and its MAX_SIZE_TEST
_CUT = 2  # places of a cut for each place of the attention pooling's grid: the last stage halves it (RegionCLIP: 14, 7)
_PATCH_CUT = 4  # places of a cut of patch vectors, which are averaged
_AT_ONCE = 64  # boxes in the last stage at the same time: about 50 MB each stage for an RN50


def region_pixels(model: EvalModel, resolution: int | None = None) -> Callable[[Image.Image], torch.Tensor]:
    """Make the transform of images: PIL image -> float32 [3, h, w].

    resolution: pixels of the shorter side; None: 800 for a ResNet, and the model's own square for a transformer.
    """
    if is_resnet(model.model.visual):
        return scaled_pixels(model, resolution or RESNET_RESOLUTION, _LONGEST)
    return square_pixels(model, dense_side(model)) if resolution is None else scaled_pixels(model, resolution)


def region_vectors(model: EvalModel, pixels: torch.Tensor, boxes: Boxes, size: tuple[int, int]) -> torch.Tensor:
    """The vectors of an image's boxes, float32 [n, d] of unit length on the model's device.

    Args:
        pixels: float32 [1, 3, h, w] from `region_pixels`.
        boxes: float32 [n, 4] in pixels of the image of `size` (width, height).
    """
    from torchvision.ops import roi_align

    visual: Any = model.model.visual
    resnet = is_resnet(visual)
    with model.arithmetic():
        if resnet:
            grid = visual.stem(pixels)
            for layer in (visual.layer1, visual.layer2, visual.layer3):
                grid = layer(grid)
        else:
            grid = dense_features(model, pixels).vectors.permute(0, 3, 1, 2)
    grid = grid.float()
    scale = torch.tensor([grid.shape[3] / size[0], grid.shape[2] / size[1]] * 2, device=grid.device)
    placed = torch.from_numpy(boxes).to(grid.device) * scale
    places = _CUT * _pooling_side(visual) if resnet else _PATCH_CUT
    rows = []
    for start in range(0, len(placed), _AT_ONCE):
        part = placed[start : start + _AT_ONCE]
        cuts = roi_align(grid, [part], output_size=(places, places), aligned=True)
        if resnet:
            with model.arithmetic():
                cuts = visual.attnpool(visual.layer4(cuts))
        else:
            cuts = cuts.mean((2, 3))
        rows.append(functional.normalize(cuts.float(), dim=-1))
    return torch.cat(rows)


def _pooling_side(visual: Any) -> int:
    """The side of the grid that a ResNet's attention pooling takes: 7 for an RN50 of 224 pixels."""
    return math.isqrt(len(visual.attnpool.positional_embedding) - 1)
