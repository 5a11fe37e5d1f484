"""AP50 by hand, overlap, and regions of the scenes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.regions import average_precision, box_iou, classify_regions, grid_boxes
from customize.clip.evaluate.zero_shot import class_vectors
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import CLASSES


def _boxes(*rows: tuple[float, float, float, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_overlap_is_intersection_over_union() -> None:
    ratios = box_iou(_boxes((0, 0, 2, 2)), _boxes((0, 0, 2, 2), (1, 0, 3, 2), (5, 5, 6, 6)))
    assert ratios[0].tolist() == [1.0, pytest.approx(1 / 3), 0.0]


def test_average_precision_ranks_hits_and_counts_a_box_once() -> None:
    truth = [(_boxes((0, 0, 10, 10), (20, 0, 30, 10)), np.array([1, 1]))]
    found = [
        (
            _boxes((0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 10)),
            np.array([1, 1, 1]),
            np.array([0.9, 0.8, 0.7], np.float32),
        )
    ]
    # Hit, a second answer for the same box (wrong), hit: precision 1 up to recall 0.5, then 2/3; 51 and 50 of 101.
    assert average_precision(found, truth, 1) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert average_precision(found, truth, 0) is None


def test_a_poor_overlap_is_no_hit() -> None:
    truth = [(_boxes((0, 0, 10, 10)), np.array([0]))]
    found = [(_boxes((0, 0, 4, 10)), np.array([0]), np.array([0.9], np.float32))]
    assert average_precision(found, truth, 0) == 0.0


def test_grid_boxes_lie_in_the_image_and_hit_most_things() -> None:
    boxes = grid_boxes(96, 64)
    assert boxes[:, :2].min() >= 0
    assert boxes[:, 2].max() <= 96.01
    assert boxes[:, 3].max() <= 64.01
    assert box_iou(boxes, _boxes((30, 20, 70, 50))).max() > 0.5


def test_scenes_are_told_apart_by_their_boxes(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    boxed = [
        dataclasses.replace(example, boxes=_boxes((16, 16, 80, 90)), box_labels=example.labels) for example in pictures
    ]
    rows = class_vectors(scenes_clip, CLASSES, ("a photo of a {}",))
    data = in_memory("scenes", CLASSES, boxed)
    found = classify_regions(scenes_clip, data, rows, novel=("castle",))
    assert found.boxes == 32
    assert found.all > 0.4  # chance is about 0.25
    assert found.novel == found.per_class["castle"]
    assert found.all == pytest.approx((3 * (found.base or 0) + (found.novel or 0)) / 4)
    grid = classify_regions(scenes_clip, data, rows, proposals="grid")
    assert 0 < grid.all < found.all  # boxes must be found as well


def test_a_set_without_boxes_is_named(tiny: EvalModel, pictures: list[Example]) -> None:
    rows = class_vectors(tiny, CLASSES, ("a {}",))
    with pytest.raises(BadInput, match="has no boxes"):
        classify_regions(tiny, in_memory("scenes", CLASSES, pictures[:1]), rows)
