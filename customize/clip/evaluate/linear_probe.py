"""Linear probe: the image tower stays, a head that starts from the class names learns on its features.

Features are computed once, so a search of eighty runs costs little more than one pass over the images. SGD as in
ELEVATER's toolkit (arXiv 2204.08790). Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.features import EvalModel, Features, Vectors, image_features
from customize.clip.evaluate.head import Head, HeadStart, build_head, head_loss
from customize.clip.evaluate.metrics import score
from customize.clip.evaluate.settings_search import FULL_SEARCH, Search, Settings, search
from customize.clip.evaluate.shots import draw_shots, split_validation
from customize.clip.evaluate.zero_shot import Classification, check_classes, class_vectors, classify
from retrieval.templates import Templates

__all__ = ["Adapted", "TrainPlan", "linear_probe", "targets_of", "train_head"]


@dataclass(frozen=True)
class TrainPlan:
    """How a head (or a whole model) is trained; the numbers are the toolkit's (resources/model/vitb32_CLIP.yaml)."""

    epochs: int = 50  # of the final run: 10 + 40
    search_epochs: int = 10
    batch: int = 64
    momentum: float = 0.9  # SGD, no Nesterov, constant learning rate
    start: HeadStart = "text"
    search: Search = FULL_SEARCH
    settings: Settings | None = None  # given: nothing is searched


@dataclass(frozen=True)
class Adapted:
    """A classification after training on some images, and the settings that were chosen."""

    result: Classification
    shots: int | None
    seed: int
    train_images: int
    settings: Settings


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
    """Train a head on `shots` images a class (None: all) and classify `test`.

    train may be features already computed: runs with several shots and seeds share them. The last epoch's head is
    reported, where the toolkit takes the epoch that is best on the test set.
    """
    plan = plan or TrainPlan()
    learned = train if isinstance(train, Features) else image_features(model, iter(train), batch_size)
    measured = test_features or image_features(model, iter(test), batch_size)
    if not allow_empty:
        check_classes(test, measured)
    class_rows = class_vectors(model, test.classes, templates)
    places = draw_shots(learned.labels, shots, seed)
    targets = targets_of(learned.labels, len(test.classes))

    def fit(rows: npt.NDArray[np.int64], lr: float, decay: float, epochs: int) -> Head:
        head = build_head(plan.start, class_rows, model.logit_scale, seed).to(model.device)
        return train_head(head, learned.vectors[rows], targets[rows], plan, lr, decay, epochs, seed)

    settings = plan.settings
    if settings is None:
        fitted, held = split_validation(places, seed)
        labels = [learned.labels[place] for place in held]

        def measure(lr: float, decay: float) -> float:
            head = fit(fitted, lr, decay, plan.search_epochs)
            return score(metric, _scores(head, learned.vectors[held]), labels)

        settings = search(measure, plan.search)
    head = fit(places, settings.lr, settings.weight_decay, plan.epochs)
    result = classify(test, measured, _scores(head, measured.vectors), metric)
    return Adapted(result, shots, seed, len(places), settings)


def targets_of(labels: Sequence[tuple[int, ...]], classes: int) -> torch.Tensor:
    """int64 [n] where every image has one label, else float32 [n, classes] of zeros and ones."""
    if all(len(several) == 1 for several in labels):
        return torch.tensor([several[0] for several in labels], dtype=torch.int64)
    table = torch.zeros(len(labels), classes)
    for row, several in enumerate(labels):
        table[row, list(several)] = 1.0
    return table


def train_head(
    head: Head,
    vectors: Vectors,
    targets: torch.Tensor,
    plan: TrainPlan,
    lr: float,
    weight_decay: float,
    epochs: int,
    seed: int,
) -> Head:
    """Train in place on features float32 [n, d]; the order is the seed's. A last batch of one image is left out:
    it has no spread to normalise by.
    """
    device = head.linear.weight.device
    rows, wanted = torch.from_numpy(vectors).to(device), targets.to(device)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=plan.momentum, weight_decay=weight_decay)
    order = np.random.default_rng(seed)
    head.train()
    for _ in range(epochs):
        mixed = torch.from_numpy(order.permutation(len(rows)))
        for start in range(0, len(mixed), plan.batch):
            places = mixed[start : start + plan.batch]
            if len(places) == 1 and len(rows) > 1:
                continue
            optimizer.zero_grad()
            loss = head_loss(head(rows[places]), wanted[places])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return head.eval()


@torch.inference_mode()
def _scores(head: Head, vectors: Vectors) -> Vectors:
    logits = head(torch.from_numpy(vectors).to(head.linear.weight.device))
    out: Vectors = logits.softmax(-1).float().cpu().numpy()
    return out
