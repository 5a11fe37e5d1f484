"""Batches of images with their boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from customize.clip.detect.batches import DetectBatches, image_pixels
from customize.clip.detect.coco_boxes import Annotations, base_only, read_annotations
from customize.clip.detect.images import open_images
from index.errors import BadInput


def base_boxes(folder: Path) -> Annotations:
    return base_only(read_annotations(str(folder / "boxes.json"), ("red", "green", "blue")), 2)


def batches(folder: Path, size: int = 4, seed: int = 0) -> DetectBatches:
    own = base_boxes(folder)
    return DetectBatches(own, open_images(str(folder / "images"), [image.name for image in own.images]), size, seed)


def test_a_step_has_the_same_images_in_every_process_and_others_with_another_seed(squares: Path) -> None:
    first, again, other = batches(squares), batches(squares), batches(squares, seed=1)
    for step in (3, 0):
        assert first.rows(step).tolist() == again.rows(step).tolist()
        for one, same in zip(first.batch(step)[0], again.batch(step)[0], strict=True):
            assert torch.equal(one, same)
    assert [first.rows(step).tolist() for step in range(2)] != [other.rows(step).tolist() for step in range(2)]
    assert [step for step, _ in first.steps(1, 4)] == [1, 2, 3]


def test_boxes_lie_on_their_squares_also_where_the_image_is_mirrored(squares: Path) -> None:
    unchanged: set[bool] = set()
    own = batches(squares)
    for step in range(8):
        for row, pixels, target in zip(own.rows(step), *own.batch(step), strict=True):
            plain = image_pixels(own.annotations.images[row], own._opened)
            unchanged.add(bool(torch.equal(plain, pixels)))
            for (x0, y0, x1, y1), label in zip(target["boxes"].int().tolist(), target["labels"].tolist(), strict=True):
                inside = pixels[:, y0:y1, x0:x1]
                assert inside.shape[1] > 0
                assert inside.shape[2] > 0
                assert int(inside.mean((1, 2)).argmax()) == label - 1  # red is 1, green is 2
                assert float(inside.std((1, 2)).max()) < 1e-6
    assert unchanged == {True, False}  # some are mirrored


def test_without_flips_no_image_is_mirrored(squares: Path) -> None:
    own = base_boxes(squares)
    opened = open_images(str(squares / "images"), [])
    plain = DetectBatches(own, opened, 4, 0, flip=False)
    for row, pixels in zip(plain.rows(0), plain.batch(0)[0], strict=True):
        assert torch.equal(pixels, image_pixels(own.images[row], opened))


def test_a_batch_that_is_too_large_is_refused(squares: Path) -> None:
    with pytest.raises(BadInput, match=r"--batch-size 100: is more than the \d+ images with boxes"):
        batches(squares, size=100)


def test_an_image_of_another_size_than_annotated_is_refused(squares: Path) -> None:
    image = replace(base_boxes(squares).images[0], size=(32, 64))
    with pytest.raises(BadInput, match="has 64 x 64 pixels, and the annotations say 32 x 64"):
        image_pixels(image, open_images(str(squares / "images"), [image.name]))
