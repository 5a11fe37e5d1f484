"""Fine-tuning: the image tower and a linear head learn together on labelled images.

ELEVATER's protocol (arXiv 2204.08790): 50 epochs of SGD with one learning rate for all weights. The learning rate and
the weight decay are chosen on a fifth of the training images. The text tower runs once, for the first weights of the
head. The given model is not changed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.evaluate.datasets.dataset import Dataset, Example
from customize.clip.evaluate.features import EvalModel, Features, Vectors, image_batches
from customize.clip.evaluate.hyperparameters import search
from customize.clip.evaluate.linear_probe import Adapted, Head, TrainPlan, build_head, head_loss, targets_of
from customize.clip.evaluate.metrics import score
from customize.clip.evaluate.shots import draw_shots, split_validation
from customize.clip.evaluate.zero_shot import check_classes, class_vectors, classify
from index.errors import BadInput
from retrieval.templates import Templates

__all__ = ["finetune"]


def finetune(
    model: EvalModel,
    train: Dataset,
    test: Dataset,
    templates: Templates | str | Sequence[str],
    *,
    shots: int | None,
    seed: int = 0,
    metric: str = "accuracy",
    plan: TrainPlan | None = None,
    chosen: npt.NDArray[np.int64] | None = None,
    allow_empty: bool = False,
    batch_size: int = 64,
) -> Adapted:
    """Fine-tune a copy of the image tower on `shots` images a class (None: all) and classify `test` with it.

    Images are decoded again in each epoch. The encoded images of a dataset in tars stay in memory.

    Args:
        chosen: positions in `train` to learn from instead of shots, such as the 1% of `shots.draw_share`.

    Raises:
        BadInput: no labelled training image, or classes that do not fit the labels.
    """
    plan = plan or TrainPlan()
    examples = list(train)
    labels = [example.labels for example in examples]
    if chosen is None:
        chosen = draw_shots(labels, shots, seed)
    if not len(chosen):
        raise BadInput(f"{train.name}: no image to learn from")
    class_rows = class_vectors(model, test.classes, templates)
    targets = targets_of(labels, len(test.classes))

    def fit(rows: npt.NDArray[np.int64], lr: float, decay: float, epochs: int) -> tuple[EvalModel, Head]:
        tower = EvalModel(copy.deepcopy(model.model), model.preprocess, model.tokenizer, model.precision)
        head = build_head(plan.start, class_rows, model.logit_scale, seed).to(model.device)
        _train(tower, head, [examples[row] for row in rows], targets[rows], plan, lr, decay, epochs, seed)
        return tower, head

    best = plan.fixed
    if best is None:
        fitted, held = split_validation(chosen, seed)
        kept = [examples[row] for row in held]

        def measure(lr: float, decay: float) -> float:
            _, found = _scores(*fit(fitted, lr, decay, plan.search_epochs), kept, batch_size)
            return score(metric, found, [example.labels for example in kept]) if np.isfinite(found).all() else -1.0

        best = search(measure, plan.search)
    tower, head = fit(chosen, best.lr, best.weight_decay, plan.epochs)
    measured, scores = _scores(tower, head, list(test), batch_size)
    if not allow_empty:
        check_classes(test, measured)
    return Adapted(classify(test, measured, scores, metric), shots, seed, len(chosen), best)


def _train(
    model: EvalModel,
    head: Head,
    examples: Sequence[Example],
    targets: torch.Tensor,
    plan: TrainPlan,
    lr: float,
    decay: float,
    epochs: int,
    seed: int,
) -> None:
    model.model.requires_grad_(False)
    model.model.visual.requires_grad_(True)
    weights = [*model.model.visual.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=lr, momentum=plan.momentum, weight_decay=decay)
    # In fp16 small gradients would be rounded to 0. A step whose gradients overflow is skipped.
    scaler = torch.amp.GradScaler(model.device.type, enabled=model.precision == "fp16")
    order = np.random.default_rng(seed)
    model.model.train()
    head.train()
    for _ in range(epochs):
        shuffled = order.permutation(len(examples))
        start = 0
        for chunk, pixels in image_batches(model, iter([examples[row] for row in shuffled]), plan.batch_size):
            rows = torch.from_numpy(shuffled[start : start + len(chunk)])
            start += len(chunk)
            if len(chunk) == 1 and len(examples) > 1:
                continue  # one image has no variance to normalise by
            optimizer.zero_grad()
            with model.arithmetic():
                features = model.model.encode_image(pixels.to(model.device))
            loss = head_loss(head(features.float()), targets[rows].to(model.device))
            if not torch.isfinite(loss):
                return  # this learning rate diverges; the search will not choose it
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
    model.model.eval()
    head.eval()


@torch.inference_mode()
def _scores(model: EvalModel, head: Head, examples: Sequence[Example], batch_size: int) -> tuple[Features, Vectors]:
    model.model.eval()
    head.eval()
    rows: list[Any] = []
    for _, pixels in image_batches(model, iter(examples), batch_size):
        with model.arithmetic():
            features = model.model.encode_image(pixels.to(model.device)).float()
        rows.append(head(features).softmax(-1).cpu().numpy())
    if not rows:
        raise BadInput("the evaluation set has no images; check the folder and the split")
    scores = np.concatenate(rows)
    about = Features(
        np.empty((len(scores), 0), np.float32),
        tuple(example.key for example in examples),
        tuple(example.labels for example in examples),
    )
    return about, scores
