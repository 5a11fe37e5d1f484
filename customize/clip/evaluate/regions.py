"""Zero-shot region classification: the mean patch vector of a box gets the nearest class; measured as COCO's AP50.

On true boxes only the classification is measured, on proposals also whether a box fits. The thesis's figures are in its
table 2.4; its proposals come from a trained RPN, ours from a fixed grid of boxes. Novel classes are those that a
detector would not have been trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.dense import dense_features, dense_side, square_pixels
from customize.clip.evaluate.features import EvalModel, Vectors, evaluating, image_batches
from index.errors import BadInput

__all__ = ["Regions", "average_precision", "box_iou", "classify_regions", "grid_boxes"]

Boxes = npt.NDArray[np.float32]

IOU = 0.5  # AP50
MAX_DETECTIONS = 100  # an image, as in COCO's evaluation
LOGIT_SCALE = 100.0  # CLIP's
_RECALLS = np.linspace(0, 1, 101)  # COCO's points of interpolation
_SIDES = (0.2, 0.35, 0.5, 0.75)  # sizes of grid boxes, as shares of the image's sides
_RATIOS = (0.5, 1.0, 2.0)  # width over height, the three usual in an RPN
_STEP = 0.5  # distance of grid boxes, as a share of their own side


@dataclass(frozen=True)
class Regions:
    """AP50 from 0 to 1, averaged over the classes that have true boxes.

    Attributes:
        novel, base: over the novel classes and over the others; None where these have no true boxes.
        per_class: class -> AP50.
        boxes: number of true boxes.
    """

    novel: float | None
    base: float | None
    all: float
    per_class: dict[str, float]
    boxes: int


def classify_regions(
    model: EvalModel,
    dataset: Dataset,
    class_rows: Vectors,
    *,
    novel: Sequence[str] = (),
    proposals: Literal["true", "grid"] = "true",
    side: int | None = None,
    batch_size: int = 16,
) -> Regions:
    """Classify the true boxes of a dataset, or a grid of boxes, and measure AP50.

    Args:
        class_rows: float32 [c, d], see `zero_shot.class_vectors`.
        novel: names of the novel classes.

    Raises:
        BadInput: the dataset has no boxes.
    """
    from torchvision.ops import batched_nms, roi_align

    side = dense_side(model, side)
    squared = replace(model, preprocess=square_pixels(model, side))
    texts = torch.from_numpy(class_rows).to(model.device)
    found: list[tuple[Boxes, npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
    truth: list[tuple[Boxes, npt.NDArray[np.int64]]] = []
    with evaluating(model.model), torch.inference_mode():
        for chunk, pixels in image_batches(squared, iter(dataset), batch_size):
            with model.arithmetic():
                dense = dense_features(model, pixels.to(model.device))
            grid = dense.vectors.permute(0, 3, 1, 2)
            for number, example in enumerate(chunk):
                width, height = example.open().size
                truth.append((example.boxes, np.array(example.box_labels, np.int64)))
                boxes = example.boxes if proposals == "true" else grid_boxes(width, height)
                if not len(boxes):
                    found.append((boxes, np.empty(0, np.int64), np.empty(0, np.float32)))
                    continue
                scale = torch.tensor([grid.shape[3] / width, grid.shape[2] / height] * 2, device=grid.device)
                placed = torch.from_numpy(boxes).to(grid.device) * scale
                pooled = roi_align(grid[number : number + 1], [placed], output_size=(4, 4), aligned=True).mean((2, 3))
                scores = (LOGIT_SCALE * torch.nn.functional.normalize(pooled, dim=-1) @ texts.T).softmax(-1)
                best, place = scores.flatten().topk(min(len(scores.flatten()), 10 * MAX_DETECTIONS))
                row, label = place // len(texts), place % len(texts)
                kept = torch.arange(len(best), device=best.device)
                if proposals == "grid":  # true boxes do not repeat each other
                    kept = batched_nms(torch.from_numpy(boxes).to(grid.device)[row], best, label, IOU)
                kept = kept[:MAX_DETECTIONS]
                chosen = row[kept].cpu().numpy()
                found.append((boxes[chosen], label[kept].cpu().numpy(), best[kept].cpu().numpy()))
    count = sum(len(labels) for _, labels in truth)
    if not count:
        raise BadInput(f"{dataset.name}: has no boxes; a sample's json holds `boxes` and `box_labels`")
    per_class = {
        name: value
        for number, name in enumerate(dataset.classes)
        if (value := average_precision(found, truth, number)) is not None
    }
    groups = {
        "novel": [value for name, value in per_class.items() if name in set(novel)],
        "base": [value for name, value in per_class.items() if name not in set(novel)],
    }
    means = {name: float(np.mean(values)) if values else None for name, values in groups.items()}
    overall = float(np.mean(list(per_class.values())))
    return Regions(means["novel"], means["base"], overall, per_class, count)


def average_precision(
    found: Sequence[tuple[Boxes, npt.NDArray[np.int64], npt.NDArray[np.float32]]],
    truth: Sequence[tuple[Boxes, npt.NDArray[np.int64]]],
    label: int,
) -> float | None:
    """Average precision of one class at IoU 0.5, interpolated at 101 recalls as in COCO; None without a true box.

    Args:
        found: of each image its boxes [n, 4], labels [n] and scores [n].
        truth: of each image its true boxes and their labels.
    """
    total = sum(int((labels == label).sum()) for _, labels in truth)
    if not total:
        return None
    entries: list[tuple[float, int, int]] = []
    for image, (_, labels, scores) in enumerate(found):
        entries += [(-float(scores[row]), image, int(row)) for row in np.flatnonzero(labels == label)]
    taken: dict[int, set[int]] = {}
    hits = np.zeros(len(entries), bool)
    for place, (_, image, row) in enumerate(sorted(entries)):
        own = np.flatnonzero(truth[image][1] == label)
        if not len(own):
            continue
        overlaps = box_iou(found[image][0][row : row + 1], truth[image][0][own])[0]
        free = [i for i in np.argsort(-overlaps, kind="stable") if own[i] not in taken.get(image, set())]
        if free and overlaps[free[0]] >= IOU:
            hits[place] = True
            taken.setdefault(image, set()).add(int(own[free[0]]))
    if not len(entries):
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, _RECALLS - 1e-12)].mean())


def box_iou(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union, float32 [n, m], of boxes [n, 4] and [m, 4], each x0 y0 x1 y1."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1) for boxes in (a, b)]
    whole = areas[0][:, None] + areas[1][None] - shared
    ratios: npt.NDArray[np.float32] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return ratios


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
