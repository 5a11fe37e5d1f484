"""Classification metrics, from 0 to 1: accuracy, mean accuracy per class, ROC AUC and 11-point mAP.

ELEVATER (arXiv 2204.08790) names one of them for each of its 20 sets. All take scores float32 [n, classes] and the
labels of each image. The area under the ROC curve and the mean over classes are scikit-learn's; 11-point mAP, which no
library has, is ours.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, MissingDependency

__all__ = ["accuracy", "eleven_point_map", "mean_per_class", "need_metric", "roc_auc", "score", "top_k"]

Scores = npt.NDArray[np.float32]
Labels = Sequence[tuple[int, ...]]


def accuracy(scores: Scores, labels: Labels) -> float:
    """Share of images whose best class is their label."""
    return top_k(scores, labels, 1)


def top_k(scores: Scores, labels: Labels, k: int) -> float:
    """Share of images whose label is among their k best classes."""
    truth = _one_each(labels)
    # Of equal scores the lower class goes first, as with argmax; scikit-learn's function lets the higher one go first.
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == truth[:, None]).any(1).mean())


def mean_per_class(scores: Scores, labels: Labels) -> float:
    """Balanced accuracy: the mean over classes of each class's accuracy; classes without images are skipped."""
    truth = _one_each(labels)
    need_metric("mean-per-class")
    from sklearn.metrics import recall_score

    return float(recall_score(truth, scores.argmax(1), labels=np.unique(truth), average="macro"))


def roc_auc(scores: Scores, labels: Labels) -> float:
    """Area under the ROC curve of class 1 against class 0, from scores [n, 2].

    It is the probability that an image of class 1 scores above one of class 0; a tie counts half. BadInput for another
    number of classes, or images of one class only.
    """
    if scores.shape[1] != 2:
        raise BadInput(f"roc_auc is for two classes, this task has {scores.shape[1]}; choose another metric")
    truth = _one_each(labels)
    if int(truth.sum()) in (0, len(truth)):
        raise BadInput("roc_auc needs images of both classes; the evaluation set has one")
    need_metric("roc_auc")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores[:, 1] - scores[:, 0]))


def eleven_point_map(scores: Scores, labels: Labels) -> float:
    """PASCAL VOC 2007's mean average precision: the best precision at recall >= 0, 0.1, ... 1, averaged over classes.

    Images may have several labels. Classes without images are skipped.
    """
    positive = np.zeros(scores.shape, bool)
    for row, several in enumerate(labels):
        positive[row, list(several)] = True
    found = []
    for number in range(scores.shape[1]):
        total = int(positive[:, number].sum())
        if not total:
            continue
        order = np.argsort(-scores[:, number], kind="stable")
        hits = np.cumsum(positive[order, number])
        precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
        best = np.maximum.accumulate(precision[::-1])[::-1]
        # Recall grows along the ranking, so a level's precision is the best one from the first row that reaches it.
        steps = np.searchsorted(recall, np.arange(11) / 10 - 1e-12)
        found.append(best[steps].mean())
    if not found:
        raise BadInput("no image has a label; 11point_mAP needs some")
    return float(np.mean(found))


_METRICS: dict[str, Callable[[Scores, Labels], float]] = {
    "accuracy": accuracy,
    "mean-per-class": mean_per_class,
    "roc_auc": roc_auc,
    "11point_mAP": eleven_point_map,
}


_OF_SCIKIT_LEARN = ("mean-per-class", "roc_auc")


def need_metric(metric: str) -> None:
    """Raise MissingDependency where the metric needs scikit-learn and it is not installed."""
    if metric in _OF_SCIKIT_LEARN and importlib.util.find_spec("sklearn") is None:
        raise MissingDependency("scikit-learn", metric, extra="evaluate")


def score(metric: str, scores: Scores, labels: Labels) -> float:
    """The metric of that name; BadInput for an unknown name lists those that exist."""
    if metric not in _METRICS:
        raise BadInput(f"unknown metric {metric!r}: choose one of {', '.join(_METRICS)}")
    return _METRICS[metric](scores, labels)


def _one_each(labels: Labels) -> npt.NDArray[np.int64]:
    strange = next((row for row, several in enumerate(labels) if len(several) != 1), None)
    if strange is not None:
        raise BadInput(
            f"image number {strange + 1} has {len(labels[strange])} labels where this metric needs one; "
            "11point_mAP is the metric of multi-label sets"
        )
    return np.array([several[0] for several in labels], np.int64)
