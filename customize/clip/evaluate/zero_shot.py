"""Zero-shot classification: a class is the mean vector of its prompts, and an image gets the nearest class.

As in CLIP (arXiv 2103.00020, 3.1.4), every prompt vector is normalised, the vectors of a class are averaged, and the
mean is normalised again.
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
    """The result of classifying a dataset.

    Attributes:
        score: of `metric`, 0 to 1; higher is better.
        top5: share of images whose label is among the five best classes; None for multi-label sets.
        images: how many images were classified.
        per_class: class -> (correct images, images); classes of the same name are counted together.
        keys, labels: of each image, in the dataset's order.
        predictions: int64 [n], the best class of each image.
    """

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
    """The prompt ensemble of each class: float32 [classes, d], rows of unit length.

    templates: a set's name, texts with `{}`, or a file (`retrieval.templates`).
    """
    if not classes:
        raise BadInput("no classes to choose from; name them, or give a dataset that has class names")
    texts = load_templates(templates).texts
    # All prompts of a class stand together, so that the reshape below finds them.
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

    Args:
        templates: a set's name, texts with `{}`, or a file (`retrieval.templates`).
        features: the dataset's features, where they were computed before.
        allow_empty: accept classes without images, which are an error otherwise.
    """
    classes = class_vectors(model, dataset.classes, templates)
    found = features or image_features(model, iter(dataset), batch_size)
    if not allow_empty:
        check_classes(dataset, found)
    # A softmax as in ELEVATER's toolkit. It changes 11-point mAP, which ranks the scores of different images.
    return classify(dataset, found, _softmax(model.logit_scale * (unit(found.vectors) @ classes.T)), metric)


def classify(dataset: Dataset, features: Features, scores: Vectors, metric: str) -> Classification:
    """The result of `scores`, float32 [images, classes], one row for each image of `features`."""
    predictions = scores.argmax(1).astype(np.int64)
    per_class = {name: [0, 0] for name in dataset.classes}
    for labels, predicted in zip(features.labels, predictions, strict=True):
        for label in labels:
            per_class[dataset.classes[label]][0] += int(predicted) == label
            per_class[dataset.classes[label]][1] += 1
    single = all(len(labels) == 1 for labels in features.labels)
    return Classification(
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
    """Raise BadInput for classes without images, and for labels that are no class of the dataset."""
    seen = {label for labels in features.labels for label in labels}
    beyond = [label for label in seen if not 0 <= label < len(dataset.classes)]
    if beyond:
        raise BadInput(
            f"{dataset.name}: has label {max(beyond)}, but the list has {len(dataset.classes)} classes; give the list "
            "of this dataset"
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
