"""The classifier on top of an image tower: a linear layer that starts from the class names' text vectors.

ELEVATER's language-augmented head (arXiv 2204.08790, section 3): weights are the prompt ensembles' vectors, the bias
is zero; features pass a batch normalisation without weights first. Knows no images.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from customize.clip.evaluate.features import Vectors

__all__ = ["Head", "HeadStart", "build_head", "head_loss"]

HeadStart = Literal["text", "zero-shot", "random"]


class Head(nn.Module):
    """[b, d] features to [b, c] logits: channel norm or unit length, then scale x (weights x + bias)."""

    def __init__(self, dim: int, classes: int, *, channel_norm: bool, scale: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False) if channel_norm else None
        self.linear = nn.Linear(dim, classes)
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [b, c]."""
        rows = self.norm(features) if self.norm is not None else functional.normalize(features, dim=-1)
        out: torch.Tensor = self.scale * self.linear(rows)
        return out


def build_head(start: HeadStart, class_rows: Vectors, logit_scale: float, seed: int = 0) -> Head:
    """A head for `class_rows` float32 [c, d], the class names' text vectors of unit length.

    start: "text" is the toolkit's (text weights, channel norm, scale 1); "zero-shot" has the same weights on features
        of unit length at the model's own scale, so that before training it is the zero-shot classifier; "random" is
        PyTorch's start with channel norm, as the toolkit without text.
    """
    classes, dim = class_rows.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(dim, classes, channel_norm=start != "zero-shot", scale=logit_scale if start == "zero-shot" else 1.0)
    if start != "random":
        with torch.no_grad():
            head.linear.weight.copy_(torch.from_numpy(class_rows))
            head.linear.bias.zero_()
    return head


def head_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy for int64 targets [b]; for float targets [b, c] (multi-label) binary cross entropy."""
    if targets.dtype == torch.int64:
        return functional.cross_entropy(logits, targets)
    return functional.binary_cross_entropy_with_logits(logits, targets)
