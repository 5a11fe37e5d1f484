"""Measures a detector as the thesis's table 2.4 does: AP50 of base, novel and all classes, tested together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from customize.clip.detect.batches import image_pixels
from customize.clip.detect.coco_boxes import Annotations, read_annotations, with_boxes
from customize.clip.detect.detector import detecting
from customize.clip.detect.folder import SavedDetector
from customize.clip.detect.images import OpenImage, open_images
from customize.clip.detect.vocabulary import Vocabulary
from customize.clip.evaluate.box_ap import FoundBoxes, ap50, need_pycocotools
from index.read_ahead import read_ahead

__all__ = ["Detected", "detect_boxes", "evaluate_detector"]


@dataclass(frozen=True)
class Detected:
    """AP50 from 0 to 1, averaged over the classes that have true boxes; None where none has.

    Attributes:
        split: name of the vocabulary.
        per_class: class -> AP50.
        unmeasured: classes without a true box.
        images, boxes, crowds: numbers of images, of true boxes and of crowds; the last are not measured.
        left_out: reason -> number of boxes of the annotation file that were not used.
        images_left_out: reason -> number of its images.
    """

    split: str
    base: float | None
    novel: float | None
    all: float | None
    per_class: Mapping[str, float]
    unmeasured: tuple[str, ...]
    images: int
    boxes: int
    crowds: int
    left_out: Mapping[str, int]
    images_left_out: Mapping[str, int]


def evaluate_detector(
    saved: SavedDetector,
    annotations: str,
    images: str,
    vocabulary: Vocabulary | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Detected:
    """Find boxes of all classes in the images that have true ones, and measure them.

    Args:
        annotations, images: COCO's annotation file, and the folder or tars with its images.
        vocabulary: classes to find; None: those that the detector was saved with.
        on_progress: called with the number of images that are done, and with all.

    Raises:
        BadInput: annotations or images cannot be used.
        MissingDependency: pycocotools is not installed.
    """
    need_pycocotools()
    vocabulary = vocabulary or saved.vocabulary
    tested = with_boxes(read_annotations(annotations, vocabulary.classes))
    opened = open_images(images, [image.name for image in tested.images])
    found = detect_boxes(saved.detector, saved.vectors(vocabulary), tested, opened, on_progress)
    values = ap50(found, [image.truth for image in tested.images], len(vocabulary.classes))
    per_class = {name: value for name, value in zip(vocabulary.classes, values, strict=True) if value is not None}
    crowds = sum(int(image.truth.crowd.sum()) for image in tested.images)
    return Detected(
        vocabulary.name,
        _mean(per_class, vocabulary.base),
        _mean(per_class, vocabulary.novel),
        _mean(per_class, vocabulary.classes),
        per_class,
        tuple(name for name in vocabulary.classes if name not in per_class),
        len(tested.images),
        tested.boxes - crowds,
        crowds,
        tested.left_out,
        tested.images_left_out,
    )


def detect_boxes(
    detector: torch.nn.Module,
    texts: torch.Tensor,
    annotations: Annotations,
    opened: OpenImage,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FoundBoxes]:
    """The boxes that a detector finds in each image, one image at a time; the next ones are decoded meanwhile."""
    device = next(detector.parameters()).device
    found = []
    pixels = (image_pixels(image, opened) for image in annotations.images)
    with detecting(detector, texts), closing(read_ahead(pixels, 4)) as ready:
        for number, own in enumerate(ready, 1):
            [best] = detector([own.to(device)])
            boxes, labels, scores = (best[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
            found.append(FoundBoxes(boxes.astype(np.float32), labels.astype(np.int64), scores.astype(np.float32)))
            if on_progress is not None:
                on_progress(number, len(annotations.images))
    return found


def _mean(per_class: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    values = [per_class[name] for name in names if name in per_class]
    return float(np.mean(values)) if values else None
