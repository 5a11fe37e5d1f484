"""REACT's training objective, eq. 2.4-2.6 of the thesis: CLIP's loss with all pairs of similar text as positives.

    contrast = contrastive_loss(image, text, model.logit_scale.exp(), Targets(0.9, text_ids))
    contrast.loss.backward()

The equations sum over the batch and over both directions. This loss is the mean (the sum over 2 |B|), as CLIP's is.
A model with a bias (SigLIP) was trained with the sigmoid loss, and so it is customized: `sigmoid_loss`.

Several workers of a torch.distributed run share one batch. Each worker gathers the features of all workers and computes
the loss of its own rows against them. The mean of the workers' gradients is then the gradient of one worker with the
whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from index.errors import BadInput

__all__ = ["Contrast", "Targets", "contrastive_loss", "pair_losses", "positives", "sigmoid_loss", "similar_texts"]


@dataclass(frozen=True)
class Targets:
    """Which texts of a batch are positives of an image.

    Attributes:
        gamma: texts with at least this cosine are positives of each other's images: 0.9 for classification (thesis,
            below eq. 2.6). 1 is UniCL: equal texts only. None is CLIP: a pair's own text only, even where two texts
            are equal.
        text_ids: int64 [b], the same number for equal texts. gamma = 1 needs them, since the cosine of a rounded unit
            vector with itself is often below 1. With a smaller gamma they are optional, and make equal texts
            positives in any case.

    Raises:
        BadInput: gamma is no cosine above -1, or gamma is 1 without text_ids.
    """

    gamma: float | None = None
    text_ids: Tensor | None = None

    def __post_init__(self) -> None:
        if self.gamma is not None and not -1 < self.gamma <= 1:
            raise BadInput(f"gamma {self.gamma}: must be a cosine, above -1 and at most 1 (the thesis: 0.9)")
        if self.gamma == 1 and self.text_ids is None:
            raise BadInput("gamma = 1 means equal texts: give text_ids")


@dataclass(frozen=True)
class Contrast:
    """The loss with two figures of the batch; all are scalars, and only the loss has a gradient.

    Attributes:
        loss: mean over this worker's rows and both directions.
        accuracy: share of this worker's images whose nearest text in the whole batch is a positive.
        alike: share of the whole batch's texts that are positives of an image, averaged over this worker's images;
            1 / batch size at least.
    """

    loss: Tensor
    accuracy: Tensor
    alike: Tensor


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Targets) -> Contrast:
    """The loss of this worker's pairs against the whole batch.

    Args:
        image: [b, d], rows of unit length; u of the equations. b is the same on all workers.
        text: [b, d], rows of unit length; v of the equations.
        scale: factor of the cosines, `logit_scale.exp()`; tau of the equations, which multiply with it.
        targets: which texts are positives.
    """
    if image.dtype in (torch.float16, torch.bfloat16):  # a softmax over thousands of texts needs more digits
        image, text = image.float(), text.float()
    text = text.to(image.dtype)
    all_images, all_texts = _gather_rows(image), _gather_rows(text)
    positive = positives(text, all_texts, targets)
    shares = positive.to(image.dtype) / positive.sum(dim=1, keepdim=True)
    by_image = scale * image @ all_texts.T
    by_text = scale * text @ all_images.T
    # The relation between texts is symmetric, so Q(j) of eq. 2.6 is P(j) of eq. 2.5.
    summed = -(shares * by_image.log_softmax(dim=1)).sum() - (shares * by_text.log_softmax(dim=1)).sum()
    nearest = by_image.detach().argmax(dim=1, keepdim=True)
    return Contrast(summed / (2 * len(image)), positive.gather(1, nearest).float().mean(), positive.float().mean())


def sigmoid_loss(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, targets: Targets) -> Contrast:
    """SigLIP's loss (arXiv 2303.15343, algorithm 1) of this worker's images against the texts of the whole batch.

    Each image and text is a yes-or-no question, whose answer is yes for all positives of `targets`. The sum over texts
    is averaged over images. Arguments as for `contrastive_loss`; bias: the model's `logit_bias`.
    """
    if image.dtype in (torch.float16, torch.bfloat16):
        image, text = image.float(), text.float()
    text = text.to(image.dtype)
    all_texts = _gather_rows(text)
    positive = positives(text, all_texts, targets)
    logits = scale * image @ all_texts.T + bias
    loss = -torch.nn.functional.logsigmoid(torch.where(positive, logits, -logits)).sum() / len(image)
    nearest = logits.detach().argmax(dim=1, keepdim=True)
    return Contrast(loss, positive.gather(1, nearest).float().mean(), positive.float().mean())


@torch.no_grad()
def positives(text: Tensor, all_texts: Tensor, targets: Targets) -> Tensor:
    """P(i) of eq. 2.5 for this worker's rows: bool [b, b x workers]; a pair's own text is always a positive.

    With `targets.text_ids` and a gamma, all workers must call this together: the ids are gathered too.
    """
    rows, first = len(text), _rank() * len(text)
    positive = torch.zeros(rows, len(all_texts), dtype=torch.bool, device=text.device)
    positive[:, first : first + rows].fill_diagonal_(True)
    if targets.gamma is None:
        return positive
    if targets.gamma < 1:
        positive |= text @ all_texts.T >= targets.gamma
    if targets.text_ids is not None:
        ids = targets.text_ids.to(text.device)
        positive |= ids[:, None] == _gather_rows(ids)[None, :]
    return positive


@torch.no_grad()
def similar_texts(text: Tensor, gamma: float | None, text_ids: Tensor) -> Tensor:
    """P(i) of eq. 2.5 within one worker's texts [b, d], as `positives` has it: bool [b, b]. No collective."""
    positive = torch.eye(len(text), dtype=torch.bool, device=text.device)
    if gamma is None:
        return positive
    if gamma < 1:
        positive |= text @ text.T >= gamma
    return positive | (text_ids[:, None] == text_ids[None, :])


@torch.no_grad()
def pair_losses(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None, positive: Tensor) -> Tensor:
    """The part of each pair in the loss of one worker's batch, [b]; their mean is that of `contrastive_loss`, or of
    `sigmoid_loss` where the model has a bias. No collective.

    positive: bool [b, b], see `similar_texts`.
    """
    logits = scale * image @ text.T
    if bias is not None:
        logits = logits + bias
        return -torch.nn.functional.logsigmoid(torch.where(positive, logits, -logits)).sum(1)
    shares = positive.to(image.dtype) / positive.sum(dim=1, keepdim=True)
    both = (shares * logits.log_softmax(dim=1)).sum(1) + (shares * logits.T.log_softmax(dim=1)).sum(1)
    return -both / 2


def _gather_rows(rows: Tensor) -> Tensor:
    """Join the rows of all workers in the order of their ranks: [n, ...] from each gives [workers x n, ...].

    All workers must call this together, with the same n. The gradient of a row is the sum of all workers' gradients
    of it. Without a process group the rows come back as they are.
    """
    if _world_size() == 1:
        return rows
    if rows.requires_grad:
        gathered: Tensor = _GatherRows.apply(rows)
        return gathered
    return _all_gather(rows)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        return _all_gather(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Gloo has no reduce-scatter for all dtypes. An all-reduce sends more, but features are small.
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first = _rank() * ctx.rows
        return total[first : first + ctx.rows]


def _all_gather(rows: Tensor) -> Tensor:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(_world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if _world_size() > 1 else 0
