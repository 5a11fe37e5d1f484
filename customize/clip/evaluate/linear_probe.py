"""Linear probe: a linear classifier, the head, learns on the features of an image tower that does not change.

The head is ELEVATER's language-augmented head (arXiv 2204.08790, section 3): its weights start as the text vectors of
the class names, its bias as zero, and features first pass a batch normalisation without weights. It is trained by SGD
as in ELEVATER's toolkit. Features are computed once, so a search of eighty trainings costs little more than one pass
over the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.features import EvalModel, Features, Vectors, image_features
from customize.clip.evaluate.hyperparameters import FULL_SEARCH, Hyperparameters, Search, search
from customize.clip.evaluate.metrics import score
from customize.clip.evaluate.shots import draw_shots, split_validation
from customize.clip.evaluate.zero_shot import Classification, check_classes, class_vectors, classify
from retrieval.templates import Templates

__all__ = [
    "Adapted",
    "Head",
    "HeadStart",
    "TrainPlan",
    "build_head",
    "head_loss",
    "linear_probe",
    "targets_of",
]

HeadStart = Literal["text", "zero-shot", "random"]


@dataclass(frozen=True)
class TrainPlan:
    """How a head, or a head with its image tower, is trained.

    The defaults are the toolkit's (resources/model/vitb32_CLIP.yaml).

    Attributes:
        epochs: of the final training (the toolkit: 10 + 40).
        search_epochs: of each training of the search.
        momentum: of SGD, without Nesterov and with a constant learning rate.
        fixed: given, these are used and nothing is searched.
    """

    epochs: int = 50
    search_epochs: int = 10
    batch_size: int = 64
    momentum: float = 0.9
    start: HeadStart = "text"
    search: Search = FULL_SEARCH
    fixed: Hyperparameters | None = None


@dataclass(frozen=True)
class Adapted:
    """A classification after training on labelled images, with the hyper-parameters that were used."""

    result: Classification
    shots: int | None
    seed: int
    train_images: int
    hyperparameters: Hyperparameters


class Head(nn.Module):
    """Features float32 [b, d] to logits [b, c]: normalise, then scale x (weights x + bias).

    Features are normalised by channel (batch normalisation) or to unit length.
    """

    def __init__(self, dim: int, classes: int, *, channel_norm: bool, scale: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False) if channel_norm else None
        self.linear = nn.Linear(dim, classes)
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        rows = self.norm(features) if self.norm is not None else functional.normalize(features, dim=-1)
        logits: torch.Tensor = self.scale * self.linear(rows)
        return logits


def build_head(start: HeadStart, class_rows: Vectors, logit_scale: float, seed: int = 0) -> Head:
    """A head for `class_rows` float32 [c, d], the class names' text vectors of unit length.

    start: "text" is the toolkit's head (text weights, channel norm, scale 1). "zero-shot" has the same weights on
        features of unit length at the model's own scale, so before training it is the zero-shot classifier. "random"
        has PyTorch's random weights and channel norm, as the toolkit's head without text.
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
    """Cross entropy for int64 targets [b]; binary cross entropy for float32 targets [b, c] (multi-label)."""
    if targets.dtype == torch.int64:
        return functional.cross_entropy(logits, targets)
    return functional.binary_cross_entropy_with_logits(logits, targets)


def linear_probe(
    model: EvalModel,
    train: Dataset | Features,
    test: Dataset,
    templates: Templates | str | Sequence[str],
    *,
    shots: int | None,
    seed: int = 0,
    metric: str = "accuracy",
    plan: TrainPlan | None = None,
    test_features: Features | None = None,
    allow_empty: bool = False,
    batch_size: int = 64,
) -> Adapted:
    """Train a head on `shots` images a class (None: all) and classify `test` with it.

    The head of the last epoch is measured; the toolkit measures the epoch that is best on the test set.

    Args:
        train: the training images, or their features, so that runs with other shots and seeds share them.
        test_features: the features of `test`, where they were computed before.

    Raises:
        BadInput: no labelled training image, or classes that do not fit the labels.
    """
    plan = plan or TrainPlan()
    learned = train if isinstance(train, Features) else image_features(model, iter(train), batch_size)
    measured = test_features or image_features(model, iter(test), batch_size)
    if not allow_empty:
        check_classes(test, measured)
    class_rows = class_vectors(model, test.classes, templates)
    chosen = draw_shots(learned.labels, shots, seed)
    targets = targets_of(learned.labels, len(test.classes))

    def fit(rows: npt.NDArray[np.int64], lr: float, decay: float, epochs: int) -> Head:
        head = build_head(plan.start, class_rows, model.logit_scale, seed).to(model.device)
        return _train_head(head, learned.vectors[rows], targets[rows], plan, lr, decay, epochs, seed)

    best = plan.fixed
    if best is None:
        fitted, held = split_validation(chosen, seed)
        labels = [learned.labels[row] for row in held]

        def measure(lr: float, decay: float) -> float:
            head = fit(fitted, lr, decay, plan.search_epochs)
            return score(metric, _scores(head, learned.vectors[held]), labels)

        best = search(measure, plan.search)
    head = fit(chosen, best.lr, best.weight_decay, plan.epochs)
    result = classify(test, measured, _scores(head, measured.vectors), metric)
    return Adapted(result, shots, seed, len(chosen), best)


def targets_of(labels: Sequence[tuple[int, ...]], classes: int) -> torch.Tensor:
    """int64 [n] where every image has one label, else float32 [n, classes] of zeros and ones."""
    if all(len(several) == 1 for several in labels):
        return torch.tensor([several[0] for several in labels], dtype=torch.int64)
    table = torch.zeros(len(labels), classes)
    for row, several in enumerate(labels):
        table[row, list(several)] = 1.0
    return table


def _train_head(
    head: Head,
    vectors: Vectors,
    targets: torch.Tensor,
    plan: TrainPlan,
    lr: float,
    weight_decay: float,
    epochs: int,
    seed: int,
) -> Head:
    """Train `head` in place on features float32 [n, d], in an order drawn by `seed`; returns it in eval mode.

    A last batch of one image is skipped, since one image has no variance to normalise by.
    """
    device = head.linear.weight.device
    rows, wanted = torch.from_numpy(vectors).to(device), targets.to(device)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=plan.momentum, weight_decay=weight_decay)
    order = np.random.default_rng(seed)
    head.train()
    for _ in range(epochs):
        shuffled = torch.from_numpy(order.permutation(len(rows)))
        for start in range(0, len(shuffled), plan.batch_size):
            batch = shuffled[start : start + plan.batch_size]
            if len(batch) == 1 and len(rows) > 1:
                continue
            optimizer.zero_grad()
            loss = head_loss(head(rows[batch]), wanted[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return head.eval()


@torch.inference_mode()
def _scores(head: Head, vectors: Vectors) -> Vectors:
    logits = head(torch.from_numpy(vectors).to(head.linear.weight.device))
    scores: Vectors = logits.softmax(-1).float().cpu().numpy()
    return scores
