"""COCO's annotation files: images with boxes of the classes of a vocabulary, and counts of what was left out.

An annotation file is an object with `images` (id, file_name, width, height), `categories` (id, name) and `annotations`
(image_id, category_id, bbox as x, y, width, height in pixels, iscrowd).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from customize.clip.evaluate.box_ap import Boxes, Labels, TrueBoxes, box_faults
from index.errors import BadInput
from index.files import read_bytes

__all__ = ["AnnotatedImage", "Annotations", "base_only", "read_annotations", "with_boxes"]


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of (width, height) pixels; labels of its boxes are positions in the vocabulary's classes."""

    name: str
    size: tuple[int, int]
    truth: TrueBoxes


@dataclass(frozen=True)
class Annotations:
    """What an annotation file holds for a vocabulary.

    Attributes:
        images: in the order of the file; some may have no box.
        boxes: number of boxes of the images, crowds included.
        left_out: reason -> number of boxes in the file that are not among them.
        images_left_out: reason -> number of images in the file that are not among them.
        sha256: of the file.
    """

    path: str
    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    left_out: Mapping[str, int]
    images_left_out: Mapping[str, int]
    sha256: str

    @property
    def boxes(self) -> int:
        return sum(len(image.truth.labels) for image in self.images)


def read_annotations(path: str, classes: Sequence[str]) -> Annotations:
    """Read an annotation file for these classes, by the names of its categories.

    Boxes of other categories are left out, and so are boxes without an area, of which COCO has some.

    Raises:
        BadInput: the file is not in COCO's form, has no category of a class, or has a box outside its image.
    """
    data = read_bytes(path)
    try:
        about = json.loads(data)
        categories = {row["id"]: str(row["name"]) for row in about["categories"]}
        images = {
            row["id"]: (str(row["file_name"]), (int(row["width"]), int(row["height"]))) for row in about["images"]
        }
        rows = [
            (row["image_id"], row["category_id"], [float(edge) for edge in row["bbox"]], bool(row.get("iscrowd", 0)))
            for row in about["annotations"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:100]
        raise BadInput(
            f"{path}: is not in COCO's form ({said}); it holds images, categories and annotations"
        ) from error
    if not images:
        raise BadInput(f"{path}: names no images")
    numbers = {name: number for number, name in enumerate(classes)}
    missing = [name for name in classes if name not in categories.values()]
    if missing:
        raise BadInput(
            f"{path}: has no category {missing[0]!r} ({len(missing)} of the {len(classes)} classes are missing); give "
            "the annotations that the split was made for, or a split of these categories"
        )
    left_out: Counter[str] = Counter()
    found: dict[Any, list[tuple[list[float], int, bool]]] = {image: [] for image in images}
    for image, category, box, crowd in rows:
        if image not in images or category not in categories or len(box) != 4:
            raise BadInput(
                f"{path}: an annotation of image {image!r} and category {category!r} fits none of the file's images "
                "and categories, or its bbox is not x, y, width, height; correct or remove it"
            )
        if categories[category] not in numbers:
            left_out["of other categories"] += 1
        elif (edges := _edges(path, *images[image], box)) is None:
            left_out["without an area"] += 1
        else:
            found[image].append((edges, numbers[categories[category]], crowd))
    kept = tuple(AnnotatedImage(*images[image], _truth(own)) for image, own in found.items())
    return Annotations(path, tuple(classes), kept, left_out, {}, hashlib.sha256(data).hexdigest())


def base_only(annotations: Annotations, base: int) -> Annotations:
    """What a detector is trained on: boxes of the first `base` classes, without crowds and images that have none.

    What a novel class's box shows is background then, as in RegionCLIP's recipe.
    """
    left_out, images_left_out = Counter(annotations.left_out), Counter(annotations.images_left_out)
    kept = []
    for image in annotations.images:
        truth = image.truth
        known = truth.labels < base
        left_out["of novel classes"] += int((~known).sum())
        left_out["crowds"] += int((known & truth.crowd).sum())
        chosen = known & ~truth.crowd
        if chosen.any():
            own = TrueBoxes(truth.boxes[chosen], truth.labels[chosen])
            kept.append(AnnotatedImage(image.name, image.size, own))
        else:
            images_left_out["without a box of a base class"] += 1
    if not kept:
        raise BadInput(f"{annotations.path}: no image has a box of a base class; check the split")
    return replace(
        annotations,
        classes=annotations.classes[:base],
        images=tuple(kept),
        left_out={reason: count for reason, count in left_out.items() if count},
        images_left_out=dict(images_left_out),
    )


def with_boxes(annotations: Annotations) -> Annotations:
    """What a detector is measured on: the images that have a box, also of a crowd, as in RegionCLIP's list of them."""
    kept = tuple(image for image in annotations.images if len(image.truth.labels))
    if not kept:
        raise BadInput(f"{annotations.path}: has no box of the split's classes; check the split")
    without = len(annotations.images) - len(kept)
    return replace(annotations, images=kept, images_left_out={"without a box": without} if without else {})


def _edges(path: str, name: str, size: tuple[int, int], box: list[float]) -> list[float] | None:
    """The box as x0, y0, x1, y1, clipped to its image, since rounded annotations may lie a pixel outside.

    None for a box without an area.
    """
    if box[2] <= 0 or box[3] <= 0:
        return None
    edges = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    fault = box_faults(np.array([edges], np.float32), *size)
    if fault is not None:
        raise BadInput(f"{path}, {name}: {fault}")
    x0, y0, x1, y1 = (min(max(edge, 0.0), float(size[axis % 2])) for axis, edge in enumerate(edges))
    return [x0, y0, x1, y1] if x0 < x1 and y0 < y1 else None


def _truth(rows: list[tuple[list[float], int, bool]]) -> TrueBoxes:
    boxes: Boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    labels: Labels = np.array([row[1] for row in rows], np.int64)
    crowd: npt.NDArray[np.bool_] = np.array([row[2] for row in rows], bool)
    return TrueBoxes(boxes, labels, crowd)
