"""REACT's training objective, eq. 2.4-2.6 of the thesis: CLIP's loss, with all pairs of like text as positives.

    contrast = contrastive_loss(image, text, model.logit_scale.exp(), Targets(0.9, text_ids))
    contrast.loss.backward()

The equations sum over the batch and both directions; this is their mean, CLIP's convention: the sum over 2 |B|.
Right over several workers: each computes its own rows against everybody's, and averaging the workers' gradients, as
data parallelism does, gives the gradient of one worker with the whole batch. Knows no models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from customize.clip.gather import gather_rows, worker_rank
from index.errors import BadInput

__all__ = ["Contrast", "Targets", "check_gamma", "contrastive_loss", "positives"]


@dataclass(frozen=True)
class Targets:
    """Which texts of a batch count as right for an image.

    Attributes:
        gamma: texts whose cosine is at least this count as one: 0.9 for classification (thesis, below eq. 2.6). 1 is
            UniCL: the same text only. None is CLIP: every pair by itself, even where two texts are equal.
        text_ids: int64 [b], equal for equal texts and for them only. gamma = 1 goes by these, since the cosine of a
            rounded unit vector with itself is often below 1. Needed for gamma = 1 only; with a smaller gamma equal
            texts count as one in any case, if these are given.
    """

    gamma: float | None = None
    text_ids: Tensor | None = None

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if self.gamma == 1 and self.text_ids is None:
            raise BadInput("gamma = 1 means the same text: give text_ids")


@dataclass(frozen=True)
class Contrast:
    """Scalars, all but the loss without gradient.

    Attributes:
        loss: the mean over this worker's rows and both directions.
        accuracy: share of this worker's images whose nearest text in the whole batch is a positive.
        alike: mean share of the whole batch's texts that are positives of one image; 1 / batch at least.
    """

    loss: Tensor
    accuracy: Tensor
    alike: Tensor


def check_gamma(gamma: float | None) -> None:
    """BadInput unless `gamma` is a cosine above -1 and at most 1, or None."""
    if gamma is not None and not -1 < gamma <= 1:
        raise BadInput(f"gamma {gamma}: is a cosine between texts, so it is above -1 and at most 1 (0.9 in the thesis)")


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Targets) -> Contrast:
    """The loss of this worker's pairs against the whole batch's.

    Args:
        image: [b, d], unit rows; u of the equations. b is the same on all workers.
        text: [b, d], unit rows; v of the equations.
        scale: what cosines are multiplied with, `logit_scale.exp()`; tau of the equations (which multiplies).
        targets: which texts count as one.
    """
    if image.dtype in (torch.float16, torch.bfloat16):  # a softmax over thousands needs more digits
        image, text = image.float(), text.float()
    text = text.to(image.dtype)
    all_images, all_texts = gather_rows(image), gather_rows(text)
    right = positives(text, all_texts, targets)
    shares = right.to(image.dtype) / right.sum(dim=1, keepdim=True)
    by_image = scale * image @ all_texts.T
    by_text = scale * text @ all_images.T
    # Which texts count as one is symmetric, so Q(j) of eq. 2.6 is P(j) of eq. 2.5.
    summed = -(shares * by_image.log_softmax(dim=1)).sum() - (shares * by_text.log_softmax(dim=1)).sum()
    nearest = by_image.detach().argmax(dim=1, keepdim=True)
    return Contrast(summed / (2 * len(image)), right.gather(1, nearest).float().mean(), right.float().mean())


@torch.no_grad()
def positives(text: Tensor, all_texts: Tensor, targets: Targets) -> Tensor:
    """P(i) of eq. 2.5 for this worker's rows: bool [b, b x workers]; a pair's own text always counts.

    A collective where `targets.text_ids` are given and gamma is not None.
    """
    rows, first = len(text), worker_rank() * len(text)
    right = torch.zeros(rows, len(all_texts), dtype=torch.bool, device=text.device)
    right[:, first : first + rows].fill_diagonal_(True)
    if targets.gamma is None:
        return right
    if targets.gamma < 1:
        right |= text @ all_texts.T >= targets.gamma
    if targets.text_ids is not None:
        ids = targets.text_ids.to(text.device)
        right |= ids[:, None] == gather_rows(ids)[None, :]
    return right
