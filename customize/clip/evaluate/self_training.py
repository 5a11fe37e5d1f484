"""MaskCLIP+: a segmenter learns from MaskCLIP's predictions on unlabelled images (arXiv 2112.01071, section 3.3).

The pseudo-labels come from the frozen model for the first tenth of the steps, then from the learner itself. The paper's
learner is a DeepLabv2 with ResNet-101. Ours is a copy of the image tower, so it needs no second architecture, and its
figures are not comparable with the paper's.
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
    """How the learner is trained. guided: share of the steps with the frozen model's labels (the paper: one tenth)."""

    steps: int = 200
    batch_size: int = 16
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
    """Train a copy of the model's image tower on pseudo-labels of the images of `train`, and return it.

    Labels and masks of `train` are not used. Raises BadInput when there are no images, or the loss is not finite.
    """
    plan = plan or SelfTraining()
    squared = replace(model, preprocess=square_pixels(model, dense_side(model, side)))
    learner = replace(model, model=copy.deepcopy(model.model))
    learner.model.requires_grad_(False).eval()
    weights = [weight.requires_grad_(True) for weight in learner.model.visual.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=plan.lr, weight_decay=0.0)
    scaler = torch.amp.GradScaler(model.device.type, enabled=model.precision == "fp16")
    for step, (_, pixels) in enumerate(itertools.islice(_endless(squared, train, plan), plan.steps)):
        pixels = pixels.to(model.device)
        teacher = model if step < plan.guided * plan.steps else learner
        with torch.no_grad(), model.arithmetic():
            seen = dense_features(teacher, pixels)
        with torch.no_grad():
            labels = patch_scores(seen, texts, refinement).argmax(-1)
        with model.arithmetic():
            seen = dense_features(learner, pixels)
        scores = patch_scores(seen, texts, Refinement(smoothing=False, denoising=False))
        loss = functional.nll_loss(scores.clamp_min(1e-12).log().flatten(0, 2), labels.flatten())
        if not torch.isfinite(loss):
            raise BadInput(
                f"self-training: the loss is not finite after {step} steps; take a lower learning rate than {plan.lr}"
            )
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
    learner.model.requires_grad_(False)
    return learner


def _endless(model: EvalModel, train: Dataset, plan: SelfTraining) -> Iterator[tuple[list[Example], torch.Tensor]]:
    while True:
        empty = True
        for batch in image_batches(model, iter(train), plan.batch_size):
            empty = False
            yield batch
        if empty:
            raise BadInput(f"{train.name}: has no images to learn from")
