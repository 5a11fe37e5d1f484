"""MaskCLIP+: a segmenter that learns from MaskCLIP's own answers on unlabelled images (arXiv 2112.01071, section 3.3).

For the first tenth of the steps the labels are the frozen model's, then the learner's own. The paper's learner is a
DeepLabv2 with ResNet-101; ours is a copy of the image tower, so that it needs no second architecture and its figure
speaks of the tower alone. Knows no masks.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from customize.clip.evaluate.datasets.dataset import Dataset, Example
from customize.clip.evaluate.dense import dense_features, dense_side, square_pixels
from customize.clip.evaluate.features import EvalModel, image_batches
from customize.clip.evaluate.segmentation import ClassTexts, Refinement, patch_scores
from index.errors import BadInput

__all__ = ["SelfTraining", "self_train"]


@dataclass(frozen=True)
class SelfTraining:
    """How long and how fast. guided: share of the steps with the frozen model's labels (the paper: one tenth)."""

    steps: int = 200
    batch: int = 16
    lr: float = 1e-5
    guided: float = 0.1


def self_train(
    model: EvalModel,
    train: Dataset,
    texts: ClassTexts,
    refinement: Refinement,
    plan: SelfTraining | None = None,
    *,
    side: int | None = None,
) -> EvalModel:
    """A copy of the model whose image tower has learned from pseudo-labels; no label of `train` is looked at."""
    plan = plan or SelfTraining()
    squared = replace(model, preprocess=square_pixels(model, dense_side(model, side)))
    learner = replace(model, model=copy.deepcopy(model.model))
    learner.model.requires_grad_(False).eval()
    weights = [weight.requires_grad_(True) for weight in learner.model.visual.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=plan.lr, weight_decay=0.0)
    for step, (_, pixels) in enumerate(itertools.islice(_endless(squared, train, plan), plan.steps)):
        pixels = pixels.to(model.device)
        teacher = model if step < plan.guided * plan.steps else learner
        with torch.no_grad():
            labels = patch_scores(dense_features(teacher, pixels), texts, refinement).argmax(-1)
        plain = Refinement(smoothing=False, denoising=False)
        scores = patch_scores(dense_features(learner, pixels), texts, plain)
        loss = functional.nll_loss(scores.clamp_min(1e-12).log().flatten(0, 2), labels.flatten())
        if not torch.isfinite(loss):
            raise BadInput(f"self-training: the loss is no number after {step} steps; take a lower rate than {plan.lr}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learner.model.requires_grad_(False)
    return learner


def _endless(model: EvalModel, train: Dataset, plan: SelfTraining) -> Iterator[tuple[list[Example], torch.Tensor]]:
    while True:
        empty = True
        for batch in image_batches(model, iter(train), plan.batch):
            empty = False
            yield batch
        if empty:
            raise BadInput(f"{train.name}: has no images to learn from")
