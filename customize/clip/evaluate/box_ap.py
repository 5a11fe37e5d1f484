"""AP50 of boxes by pycocotools, COCO's own evaluation: IoU 0.5, 101 recalls, at most 100 boxes of a class an image.

A crowd box stands for many things at once. It counts as no true box, and a found box that lies in it is neither right
nor wrong.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, MissingDependency

__all__ = ["IOU", "MAX_DETECTIONS", "Boxes", "FoundBoxes", "TrueBoxes", "ap50", "box_faults", "need_pycocotools"]

Boxes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

IOU = 0.5
MAX_DETECTIONS = 100  # an image, as in COCO's evaluation
_BEYOND = 1.0  # pixels that a box may lie outside its image: annotations are rounded


@dataclass(frozen=True)
class FoundBoxes:
    """An image's boxes float32 [n, 4] (x0 y0 x1 y1 in pixels), their classes int64 [n] and scores float32 [n]."""

    boxes: Boxes
    labels: Labels
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrueBoxes:
    """An image's true boxes float32 [n, 4] and their classes int64 [n]; crowd, bool [n]: which are crowds (none)."""

    boxes: Boxes
    labels: Labels
    crowd: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))

    def __post_init__(self) -> None:
        if not len(self.crowd):
            object.__setattr__(self, "crowd", np.zeros(len(self.boxes), bool))


def need_pycocotools() -> None:
    """Raise MissingDependency where pycocotools is not installed."""
    if importlib.util.find_spec("pycocotools") is None:
        raise MissingDependency("pycocotools", "AP50", extra="evaluate")


def ap50(found: Sequence[FoundBoxes], truth: Sequence[TrueBoxes], classes: int) -> list[float | None]:
    """The AP50 of each class, from 0 to 1; None for a class without a true box.

    Args:
        found, truth: of the same images, in the same order; labels are from 0 to classes - 1.

    Raises:
        MissingDependency: pycocotools is not installed.
    """
    need_pycocotools()
    from pycocotools.cocoeval import COCOeval

    rows = [
        (image, box, label, {"iscrowd": int(crowd)})
        for image, one in enumerate(truth)
        for box, label, crowd in zip(one.boxes, one.labels, one.crowd, strict=True)
    ]
    answers = [
        (image, box, label, {"iscrowd": 0, "score": float(score)})
        for image, one in enumerate(found)
        for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluation = COCOeval(_coco(rows, len(truth), classes), _coco(answers, len(truth), classes), "bbox")
        evaluation.params.iouThrs = np.array([IOU])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0]  # [recalls, classes]; -1 for a class without true boxes
    return [None if column[0] < 0 else float(column.mean()) for column in precision.T]


def box_faults(boxes: Boxes, width: int, height: int) -> str | None:
    """What is wrong with an image's boxes float32 [n, 4], or None: the first one that is empty or lies outside."""
    for box in boxes:
        x0, y0, x1, y1 = (float(value) for value in box)
        shown = "[" + ", ".join(f"{value:g}" for value in (x0, y0, x1, y1)) + "]"
        if not (x0 < x1 and y0 < y1):  # also where one of them is no number
            return f"its box {shown} has no area; a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1"
        if min(x0, y0) < -_BEYOND or x1 > width + _BEYOND or y1 > height + _BEYOND:
            return f"its box {shown} lies outside of the image of {width} x {height} pixels; correct or remove it"
    return None


def _coco(rows: Sequence[tuple[int, Boxes, Any, dict[str, Any]]], images: int, classes: int) -> Any:
    """COCO's object for rows of image, box, class and further fields."""
    from pycocotools.coco import COCO

    annotations = []
    for number, (image, box, label, others) in enumerate(rows, start=1):  # the id 0 means "no match" to COCOeval
        if not 0 <= label < classes:
            raise BadInput(f"image number {image + 1} has a box of class {label}; there are {classes} classes")
        x0, y0, x1, y1 = (float(value) for value in box)
        place = {"id": number, "image_id": image, "category_id": int(label), "bbox": [x0, y0, x1 - x0, y1 - y0]}
        annotations.append({**place, "area": (x1 - x0) * (y1 - y0), **others})
    made = COCO()
    made.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": annotations,
    }
    made.createIndex()
    return made
