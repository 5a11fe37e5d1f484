"""Zero-shot region classification: a box gets the class with the nearest text vector; measured as COCO's AP50.

On true boxes only the classification is measured, on proposals also whether a box fits. The thesis's figures are in its
table 2.4; its proposals come from a trained RPN, ours from a fixed grid of boxes. Novel classes are those that a
detector would not have been trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from customize.clip.evaluate.box_ap import (
    IOU,
    MAX_DETECTIONS,
    Boxes,
    FoundBoxes,
    TrueBoxes,
    ap50,
    box_faults,
    need_pycocotools,
)
from customize.clip.evaluate.datasets.dataset import Dataset, Example
from customize.clip.evaluate.dense import prepared_images
from customize.clip.evaluate.features import EvalModel, Vectors, evaluating
from customize.clip.evaluate.region_vectors import region_pixels, region_vectors
from index.errors import BadInput

__all__ = ["Regions", "classify_regions", "grid_boxes"]

LOGIT_SCALE = 100.0  # CLIP's, and RegionCLIP's temperature of 0.01
_SIDES = (0.2, 0.35, 0.5, 0.75)  # sizes of grid boxes, as shares of the image's sides
_RATIOS = (0.5, 1.0, 2.0)  # width over height, the three usual in an RPN
_STEP = 0.5  # distance of grid boxes, as a share of their own side


@dataclass(frozen=True)
class Regions:
    """AP50 from 0 to 1, averaged over the classes that have true boxes.

    Attributes:
        novel, base: over the novel classes and over the others; None where these have no true boxes.
        per_class: class -> AP50.
        boxes: number of true boxes, without crowds.
        crowds: number of crowd boxes, which are not measured.
    """

    novel: float | None
    base: float | None
    all: float
    per_class: dict[str, float]
    boxes: int
    crowds: int


def classify_regions(
    model: EvalModel,
    dataset: Dataset,
    class_rows: Vectors,
    *,
    novel: Sequence[str] = (),
    proposals: Literal["true", "grid"] = "true",
    resolution: int | None = None,
    allow_empty: bool = False,
) -> Regions:
    """Classify the true boxes of a dataset, or a grid of boxes, and measure AP50.

    Args:
        class_rows: float32 [c, d], see `zero_shot.class_vectors`.
        novel: names of the novel classes.
        resolution: pixels of the images' shorter side, see `region_vectors.region_pixels`.
        allow_empty: accept novel classes without a true box, which are an error otherwise.

    Raises:
        BadInput: the dataset has no boxes, or none of a novel class; a box outside of its image.
        MissingDependency: pycocotools is not installed.
    """
    need_pycocotools()
    texts = torch.from_numpy(class_rows).to(model.device)
    found: list[FoundBoxes] = []
    truth: list[TrueBoxes] = []
    with evaluating(model.model), torch.inference_mode():
        for [(example, size)], pixels in prepared_images(dataset, region_pixels(model, resolution)):
            truth.append(_true_boxes(dataset, example, size))
            boxes = truth[-1].boxes[~truth[-1].crowd] if proposals == "true" else grid_boxes(*size)
            if len(boxes):
                vectors = region_vectors(model, pixels.to(model.device), boxes, size)
                found.append(_best_classes(boxes, (LOGIT_SCALE * vectors @ texts.T).softmax(-1)))
            else:
                found.append(FoundBoxes(boxes, np.empty(0, np.int64), np.empty(0, np.float32)))
    per_class = _by_class(dataset, found, truth, novel, allow_empty)
    means = {
        name: float(np.mean(values)) if values else None
        for name, values in {
            "novel": [value for name, value in per_class.items() if name in novel],
            "base": [value for name, value in per_class.items() if name not in novel],
        }.items()
    }
    overall = float(np.mean(list(per_class.values())))
    crowds = sum(int(one.crowd.sum()) for one in truth)
    count = sum(len(one.labels) for one in truth) - crowds
    return Regions(means["novel"], means["base"], overall, per_class, count, crowds)


def _true_boxes(dataset: Dataset, example: Example, size: tuple[int, int]) -> TrueBoxes:
    """An example's boxes, clipped to its image. Raises BadInput where they cannot be."""
    if (fault := box_faults(example.boxes, *size)) is not None:
        raise BadInput(f"{dataset.name}, {example.key}: {fault}")
    boxes = np.clip(example.boxes, 0, np.array([*size, *size], np.float32)).astype(np.float32)
    return TrueBoxes(boxes, np.array(example.box_labels, np.int64), np.array(example.box_crowd, bool))


def _best_classes(boxes: Boxes, scores: torch.Tensor) -> FoundBoxes:
    """The classes of boxes by their scores [n, c]; a box may have several. Of boxes of a class that overlap, one stays.

    This is RegionCLIP's inference, on true boxes as well.
    """
    from torchvision.ops import batched_nms

    best, place = scores.flatten().topk(min(scores.numel(), 10 * MAX_DETECTIONS))
    row, label = place // scores.shape[1], place % scores.shape[1]
    kept = batched_nms(torch.from_numpy(boxes).to(best.device)[row], best, label, IOU)[:MAX_DETECTIONS]
    return FoundBoxes(boxes[row[kept].cpu().numpy()], label[kept].cpu().numpy(), best[kept].cpu().numpy())


def _by_class(
    dataset: Dataset,
    found: Sequence[FoundBoxes],
    truth: Sequence[TrueBoxes],
    novel: Sequence[str],
    allow_empty: bool,
) -> dict[str, float]:
    values = zip(dataset.classes, ap50(found, truth, len(dataset.classes)), strict=True)
    per_class = {name: value for name, value in values if value is not None}
    if not per_class:
        raise BadInput(f"{dataset.name}: has no boxes; a sample's json holds `boxes` and `box_labels`")
    missing = [name for name in novel if name not in per_class]
    if missing and not allow_empty:
        raise BadInput(
            f"{dataset.name}: no box is of {len(missing)} of {len(novel)} novel classes, such as {missing[0]!r}; take "
            "them out of `novel`, or allow it (--allow-empty)"
        )
    return per_class


def grid_boxes(width: int, height: int) -> Boxes:
    """A grid of boxes of four sizes and three shapes over an image, float32 [n, 4] in pixels."""
    boxes = []
    for share in _SIDES:
        for ratio in _RATIOS:
            wide, high = min(1.0, share * ratio**0.5), min(1.0, share / ratio**0.5)
            columns = np.arange(0, 1 - wide + 1e-6, _STEP * wide)
            rows = np.arange(0, 1 - high + 1e-6, _STEP * high)
            boxes += [(x, y, x + wide, y + high) for y in rows for x in columns]
    return (np.array(boxes) * [width, height, width, height]).astype(np.float32)
