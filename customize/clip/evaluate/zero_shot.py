"""Zero-shot classification: a class is the mean of its prompts' vectors, an image belongs to the nearest class.

As CLIP's authors do it (arXiv 2103.00020, 3.1.4): every prompt is normalised, the prompts of a class are averaged,
the mean is normalised again. Knows no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.features import EvalModel, Features, Vectors, image_features, text_features, unit
from customize.clip.evaluate.metrics import score, top_k
from index.errors import BadInput
from retrieval.templates import Templates, fill, load_templates

__all__ = ["Classification", "check_classes", "class_vectors", "classify", "zero_shot"]


@dataclass(frozen=True)
class Classification:
    """How well images were classified.

    Attributes:
        dataset, metric, score: what was measured; 0 to 1, higher is better.
        top5: share of images whose class is among the five best; None for multi-label sets.
        images: how many.
        per_class: class -> (images whose best class is theirs, images); classes of one name are counted together.
        keys, labels, predictions: one an image, in the dataset's order; predictions int64 [n] is the best class.
    """

    dataset: str
    metric: str
    score: float
    top5: float | None
    images: int
    per_class: dict[str, tuple[int, int]]
    keys: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    predictions: npt.NDArray[np.int64]


def class_vectors(
    model: EvalModel, classes: Sequence[str], templates: Templates | str | Sequence[str], batch_size: int = 256
) -> Vectors:
    """float32 [classes, d] of unit length: each class's prompt ensemble."""
    if not classes:
        raise BadInput("no classes to choose from; name them, or give a dataset that knows its own")
    texts = load_templates(templates).texts
    # One class's prompts after the other, so that memory does not grow with classes x templates x context.
    rows = text_features(model, [fill(text, name) for name in classes for text in texts], batch_size)
    return unit(unit(rows).reshape(len(classes), len(texts), -1).mean(1))


def zero_shot(
    model: EvalModel,
    dataset: Dataset,
    templates: Templates | str | Sequence[str] = "openai_imagenet",
    *,
    metric: str = "accuracy",
    batch_size: int = 64,
    allow_empty: bool = False,
    features: Features | None = None,
) -> Classification:
    """Classify a dataset's images by its class names.

    templates: a set's name, texts with `{}`, or a file (`retrieval.templates`).
    features: the dataset's, when they are known already.
    allow_empty: classes without images are a mistake in the data unless this says otherwise.
    """
    classes = class_vectors(model, dataset.classes, templates)
    found = features or image_features(model, iter(dataset), batch_size)
    if not allow_empty:
        check_classes(dataset, found)
    # Softmax as in ELEVATER's toolkit: 11-point mAP compares images with each other, where it makes a difference.
    return classify(dataset, found, _softmax(model.logit_scale * (unit(found.vectors) @ classes.T)), metric)


def classify(dataset: Dataset, features: Features, scores: Vectors, metric: str) -> Classification:
    """The result of scores float32 [images, classes]."""
    predictions = scores.argmax(1).astype(np.int64)
    per_class = {name: [0, 0] for name in dataset.classes}
    for labels, predicted in zip(features.labels, predictions, strict=True):
        for label in labels:
            per_class[dataset.classes[label]][0] += int(predicted) == label
            per_class[dataset.classes[label]][1] += 1
    single = all(len(labels) == 1 for labels in features.labels)
    return Classification(
        dataset=dataset.name,
        metric=metric,
        score=score(metric, scores, features.labels),
        top5=top_k(scores, features.labels, 5) if single else None,
        images=len(scores),
        per_class={name: (right, total) for name, (right, total) in per_class.items()},
        keys=features.keys,
        labels=features.labels,
        predictions=predictions,
    )


def check_classes(dataset: Dataset, features: Features) -> None:
    """BadInput names classes without images and labels without a class."""
    seen = {label for labels in features.labels for label in labels}
    beyond = [label for label in seen if not 0 <= label < len(dataset.classes)]
    if beyond:
        raise BadInput(
            f"{dataset.name}: has label {max(beyond)}, but {len(dataset.classes)} classes; give its own list"
        )
    empty = [name for number, name in enumerate(dataset.classes) if number not in seen]
    if empty:
        raise BadInput(
            f"{dataset.name}: {len(empty)} of {len(dataset.classes)} classes have no images, such as {empty[0]!r}; "
            "take them out of the list, or allow it (--allow-empty)"
        )


def _softmax(logits: Vectors) -> Vectors:
    wide = np.exp(logits - logits.max(1, keepdims=True))
    out: Vectors = (wide / wide.sum(1, keepdims=True)).astype(np.float32)
    return out
