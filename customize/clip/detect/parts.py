"""The parts of a CLIP ResNet in a detector: a trunk over whole images, a box head, and texts as classifier.

The box head does to a cut of the grid what the image tower does to a whole image: the stages after the cut, and the
attention pooling with its positional embedding, which fixes the size of a cut (7 x 7 at the end for an RN50 of 224
pixels).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import MultiScaleRoIAlign, roi_align

from customize.clip.evaluate.dense import is_resnet
from index.errors import BadInput

__all__ = ["BoxCut", "BoxHead", "TextClassifier", "Trunk", "check_tower", "cut_side"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_AT_ONCE = 256  # cuts in the box head at the same time in a test: about 0.5 GB of an RN50


def check_tower(visual: Any, name: str) -> None:
    """Raise BadInput where an image tower is none of open_clip's ResNets with attention pooling."""
    if not is_resnet(visual) or visual.attnpool is None:
        raise BadInput(
            f"{name}: its image tower is a {type(visual).__name__}, and a detector needs the stages and the attention "
            "pooling of CLIP's ResNets: take RN50:openai, RN101:openai or RN50x4:openai, or such a model customized "
            "with locked-text"
        )


def cut_side(visual: Any, cut_after: int) -> int:
    """The side of a cut in places of the grid: twice that of the attention pooling's grid before the last stage."""
    side: int = round((len(visual.attnpool.positional_embedding) - 1) ** 0.5)
    return side * 2 if cut_after == 3 else side


class Trunk(nn.Module):
    """The stem and the first residual stages: pixels [b, 3, h, w] -> grid [b, c, h / stride, w / stride]."""

    def __init__(self, visual: Any, cut_after: int, frozen_stages: int) -> None:
        super().__init__()
        stem = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "conv3", "bn3", "act3", "avgpool")
        self.stem = nn.Sequential(*(getattr(visual, name) for name in stem))
        self.stages = nn.ModuleList(getattr(visual, name) for name in _STAGES[:cut_after])
        self.out_channels = int(getattr(visual, _STAGES[cut_after - 1])[-1].conv3.out_channels)
        self.stride = 2 ** (cut_after + 1)
        for stage in (self.stem, *self.stages)[:frozen_stages]:
            stage.requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        grid: torch.Tensor = self.stem(pixels)
        for stage in self.stages:
            grid = stage(grid)
        return grid


class BoxCut(MultiScaleRoIAlign):  # type: ignore[misc]
    """RoIAlign as in Detectron2: half a pixel aligned, with as many samples as the box has places.

    A whole image of the model's own size is cut into its grid unchanged; torchvision's own class would blur it.
    """

    def __init__(self, side: int, stride: int) -> None:
        super().__init__(["0"], output_size=side, sampling_ratio=-1)
        self.stride = stride

    def forward(self, x: dict[str, torch.Tensor], boxes: list[torch.Tensor], image_shapes: Any) -> torch.Tensor:
        cuts: torch.Tensor = roi_align(x["0"], boxes, self.output_size, 1 / self.stride, -1, aligned=True)
        return cuts


class BoxHead(nn.Module):
    """The residual stages after the cut, and the attention pooling: cuts [n, c, side, side] -> vectors [n, d]."""

    def __init__(self, visual: Any, cut_after: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(getattr(visual, name) for name in _STAGES[cut_after:])
        self.attnpool = visual.attnpool
        self.width = int(visual.attnpool.c_proj.out_features)

    def forward(self, cuts: torch.Tensor) -> torch.Tensor:
        if not len(cuts):
            return cuts.new_zeros(0, self.width)
        if self.training or torch.is_grad_enabled():
            return self._vectors(cuts)
        return torch.cat([self._vectors(part) for part in torch.split(cuts, _AT_ONCE)])

    def _vectors(self, cuts: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            cuts = stage(cuts)
        vectors: torch.Tensor = self.attnpool(cuts)
        return vectors


class TextClassifier(nn.Module):
    """Vectors [n, d] -> logits [n, 1 + classes], the background first, and corrections of boxes [n, 4].

    The logit of a class is the cosine with its text vector over the temperature, that of the background the product
    with a vector of any length, which starts as zero.
    """

    texts: torch.Tensor

    def __init__(self, texts: torch.Tensor, temperature: float, learned_background: bool) -> None:
        super().__init__()
        self.temperature = temperature
        self.background = nn.Parameter(torch.zeros(texts.shape[1]), requires_grad=learned_background)
        self.box = nn.Linear(texts.shape[1], 4)
        nn.init.normal_(self.box.weight, std=0.001)
        nn.init.zeros_(self.box.bias)
        self.register_buffer("texts", functional.normalize(texts.float(), dim=-1), persistent=False)

    def use(self, texts: torch.Tensor) -> None:
        """Classify by these text vectors, float32 [classes, d], from now on."""
        self.texts = functional.normalize(texts.float(), dim=-1).to(self.texts.device)

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        unit = functional.normalize(vectors, dim=-1)
        logits = unit @ torch.cat([self.background[None], self.texts]).T / self.temperature
        return logits, self.box(vectors)
