"""Regions of the scenes, of a ResNet's last stages, crowds, and boxes that do not fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from customize.clip.evaluate.datasets.dataset import Dataset, Example, in_memory
from customize.clip.evaluate.features import EvalModel, Vectors
from customize.clip.evaluate.regions import classify_regions, grid_boxes
from customize.clip.evaluate.zero_shot import class_vectors
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import CLASSES
from tests.customize.clip.evaluate.test_box_ap import boxes as _boxes


def test_grid_boxes_lie_in_the_image_and_hit_most_things() -> None:
    boxes = grid_boxes(96, 64)
    assert boxes[:, :2].min() >= 0
    assert boxes[:, 2].max() <= 96.01
    assert boxes[:, 3].max() <= 64.01
    assert box_iou(torch.from_numpy(boxes), torch.tensor([[30.0, 20.0, 70.0, 50.0]])).max() > 0.5


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


def test_an_empty_set_is_named(tiny: EvalModel) -> None:
    with pytest.raises(BadInput, match="nothing: has no images"):
        classify_regions(tiny, in_memory("nothing", CLASSES, []), class_vectors(tiny, CLASSES, ("a {}",)))


def halves(**about: Any) -> Dataset:
    """A picture that is half red and half blue; its boxes are the halves."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 32:, 2] = 255
    fields = {"boxes": _boxes((0, 0, 32, 32), (32, 0, 64, 32)), "box_labels": (0, 1), **about}
    return in_memory("halves", ("red", "blue"), [Example("one", lambda: Image.fromarray(pixels), **fields)])


def colors(model: EvalModel) -> Vectors:
    """The vectors of a red and a blue image as those of their names: what a model that knows both would have."""
    shown = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    with torch.inference_mode():
        found = model.model.encode_image(torch.stack([model.preprocess(image) for image in shown]))
    return torch.nn.functional.normalize(found, dim=-1).numpy()


def test_crowds_are_not_measured(tiny_resnet: EvalModel) -> None:
    crowd = {"boxes": _boxes((0, 0, 32, 32), (32, 0, 64, 32), (40, 0, 60, 20)), "box_labels": (0, 1, 0)}
    rows = colors(tiny_resnet)
    ignored = classify_regions(tiny_resnet, halves(**crowd, box_crowd=(False, False, True)), rows, resolution=32)
    assert ignored.all == pytest.approx(1.0)
    assert (ignored.boxes, ignored.crowds) == (2, 1)
    counted = classify_regions(tiny_resnet, halves(**crowd), rows, resolution=32)
    assert counted.all < 0.9
    assert (counted.boxes, counted.crowds) == (3, 0)


def test_a_novel_class_without_boxes_is_named(tiny: EvalModel) -> None:
    rows = class_vectors(tiny, ("red", "blue"), ("a {}",))
    one = halves(boxes=_boxes((0, 0, 32, 32)), box_labels=(0,))
    with pytest.raises(BadInput, match="halves: no box is of 1 of 1 novel classes, such as 'blue'"):
        classify_regions(tiny, one, rows, novel=("blue",))
    assert classify_regions(tiny, one, rows, novel=("blue",), allow_empty=True).novel is None


def test_a_box_outside_of_its_image_is_named(tiny: EvalModel) -> None:
    rows = class_vectors(tiny, ("red", "blue"), ("a {}",))
    with pytest.raises(BadInput, match=r"halves, one: its box \[32, 0, 64, 64\] lies outside of the image of 64 x 32"):
        classify_regions(tiny, halves(boxes=_boxes((0, 0, 32, 32), (32, 0, 64, 64))), rows)
