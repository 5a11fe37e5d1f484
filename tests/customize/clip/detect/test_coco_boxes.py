"""Annotation files in COCO's form: what is read, what is left out, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from customize.clip.detect.coco_boxes import base_only, read_annotations, with_boxes
from index.errors import BadInput
from tests.customize.clip.detect.conftest import write_json

CATEGORIES = [{"id": 7, "name": "red"}, {"id": 3, "name": "green"}, {"id": 90, "name": "blue"}]
CLASSES = ("red", "blue")


def about(*boxes: Any, **others: Any) -> dict[str, Any]:
    """One image of 40 x 30 pixels, and one without boxes. boxes: (category, bbox) or (category, bbox, iscrowd)."""
    rows = [
        {"id": number, "image_id": 5, "category_id": category, "bbox": bbox, "iscrowd": crowd[0] if crowd else 0}
        for number, (category, bbox, *crowd) in enumerate(boxes)
    ]
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30} for number in (5, 6)]
    return {"images": images, "annotations": rows, "categories": CATEGORIES, **others}


def test_boxes_have_the_places_and_labels_of_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    boxes = ((90, [1, 2, 10, 20]), (3, [0, 0, 5, 5]), (7, [0, 0, 4, 4], 1), (7, [3, 3, 0, 9]))
    found = read_annotations(str(write_json(tmp_path / "a.json", about(*boxes))), CLASSES)
    assert [image.name for image in found.images] == ["5.jpg", "6.jpg"]
    truth = found.images[0].truth
    np.testing.assert_allclose(truth.boxes, [[1, 2, 11, 22], [0, 0, 4, 4]])
    assert truth.labels.tolist() == [1, 0]
    assert truth.crowd.tolist() == [False, True]
    assert found.left_out == {"of other categories": 1, "without an area": 1}
    assert found.boxes + sum(found.left_out.values()) == len(boxes)


def test_training_has_the_boxes_of_base_classes_alone(tmp_path: Path) -> None:
    boxes = ((90, [1, 2, 10, 20]), (3, [0, 0, 5, 5]), (7, [0, 0, 4, 4], 1), (7, [3, 3, 9, 9]))
    found = read_annotations(str(write_json(tmp_path / "a.json", about(*boxes))), CLASSES)
    kept = base_only(found, 1)
    assert kept.classes == ("red",)
    assert [image.name for image in kept.images] == ["5.jpg"]
    np.testing.assert_allclose(kept.images[0].truth.boxes, [[3, 3, 12, 12]])
    assert kept.left_out == {"of other categories": 1, "of novel classes": 1, "crowds": 1}
    assert kept.boxes + sum(kept.left_out.values()) == len(boxes)
    assert kept.images_left_out == {"without a box of a base class": 1}


def test_a_test_has_the_images_with_boxes(tmp_path: Path) -> None:
    found = with_boxes(read_annotations(str(write_json(tmp_path / "a.json", about((90, [1, 2, 3, 4])))), CLASSES))
    assert [image.name for image in found.images] == ["5.jpg"]
    assert found.images_left_out == {"without a box": 1}


def test_a_box_that_rounding_puts_outside_is_clipped(tmp_path: Path) -> None:
    boxes = about((7, [-0.5, 0, 10.5, 30.6]), (7, [-1, 0, 1, 5]))
    found = read_annotations(str(write_json(tmp_path / "a.json", boxes)), CLASSES)
    np.testing.assert_allclose(found.images[0].truth.boxes, [[0, 0, 10, 30]])
    assert found.left_out == {"without an area": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (about((7, [30, 5, 20, 10])), r"5.jpg: its box \[30, 5, 50, 15\] lies outside of the image of 40 x 30 pixels"),
        (about((8, [0, 0, 1, 1])), "an annotation of image 5 and category 8 fits none"),
        (about((7, [0, 0, 1])), "its bbox is not x, y, width, height"),
        (about(categories=CATEGORIES[:2]), r"has no category 'blue' \(1 of the 2 classes are missing\)"),
        (about(images=[]), "names no images"),
        ({"images": []}, "is not in COCO's form"),
        ([1], "is not in COCO's form"),
    ],
)
def test_what_is_wrong_is_one_line(value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        read_annotations(str(write_json(tmp_path / "a.json", value)), CLASSES)
    assert "\n" not in str(refused.value)
    assert "a.json" in str(refused.value)


def test_without_a_box_to_train_or_test_on_it_says_so(tmp_path: Path) -> None:
    found = read_annotations(str(write_json(tmp_path / "a.json", about((90, [1, 2, 10, 20])))), CLASSES)
    with pytest.raises(BadInput, match="no image has a box of a base class"):
        base_only(found, 1)
    empty = read_annotations(str(write_json(tmp_path / "b.json", about())), CLASSES)
    with pytest.raises(BadInput, match="has no box of the split's classes"):
        with_boxes(empty)
