"""Measuring a detector: base and novel classes apart, crowds and images without boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from customize.clip.detect.coco_boxes import read_annotations
from customize.clip.detect.config import DetectConfig
from customize.clip.detect.evaluate import detect_boxes, evaluate_detector
from customize.clip.detect.folder import SavedDetector, load_detector
from customize.clip.detect.images import open_images
from customize.clip.detect.train import train_detector
from customize.clip.detect.vocabulary import Vocabulary
from customize.clip.evaluate.box_ap import FoundBoxes
from tests.customize.clip.detect.conftest import write_json


@pytest.fixture
def saved(config: Callable[..., DetectConfig]) -> SavedDetector:
    train_detector(config())
    return load_detector(config().out, "cpu")


def test_all_classes_are_found_together_and_averaged_apart(saved: SavedDetector, squares: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluate_detector(
        saved, str(squares / "boxes.json"), str(squares / "images"), on_progress=lambda *done: seen.append(done)
    )
    about = json.loads((squares / "boxes.json").read_text())
    assert set(found.per_class) == {"red", "green", "blue"}
    assert found.novel == found.per_class["blue"]
    assert found.base == pytest.approx((found.per_class["red"] + found.per_class["green"]) / 2)
    assert found.all == pytest.approx(np.mean(list(found.per_class.values())))
    assert (found.images, found.boxes, found.crowds) == (len(about["images"]), len(about["annotations"]), 0)
    assert found.unmeasured == ()
    assert seen[-1] == (found.images, found.images)


def test_a_detector_that_is_right_has_an_ap_of_one_and_a_crowd_does_not_count(
    saved: SavedDetector, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = json.loads((squares / "boxes.json").read_text())
    about["annotations"][0]["iscrowd"] = 1
    about["images"].append({"id": 99, "file_name": "none.png", "width": 64, "height": 64})
    path = str(write_json(tmp_path / "crowd.json", about))

    def right(detector: Any, texts: torch.Tensor, annotations: Any, *others: Any) -> list[FoundBoxes]:
        parts = [(image.truth.boxes, image.truth.labels) for image in annotations.images]
        return [FoundBoxes(boxes, labels, np.ones(len(labels), np.float32)) for boxes, labels in parts]

    monkeypatch.setattr("customize.clip.detect.evaluate.detect_boxes", right)
    found = evaluate_detector(saved, path, str(squares / "images"))
    assert (found.base, found.novel, found.all) == (1.0, 1.0, 1.0)
    assert (found.crowds, found.boxes) == (1, len(about["annotations"]) - 1)
    assert found.images_left_out == {"without a box": 1}


def test_classes_without_boxes_are_named_and_not_averaged(saved: SavedDetector, squares: Path, tmp_path: Path) -> None:
    about = json.loads((squares / "boxes.json").read_text())
    [blue] = [row["id"] for row in about["categories"] if row["name"] == "blue"]
    about["annotations"] = [row for row in about["annotations"] if row["category_id"] != blue]
    found = evaluate_detector(saved, str(write_json(tmp_path / "base.json", about)), str(squares / "images"))
    assert found.unmeasured == ("blue",)
    assert found.novel is None
    assert found.all == found.base


def test_a_class_that_was_never_trained_can_be_found(saved: SavedDetector, squares: Path) -> None:
    split = Vocabulary("colors", ("green",), ("red", "blue"), templates=("a {}",))
    annotations = read_annotations(str(squares / "boxes.json"), split.classes)
    opened = open_images(str(squares / "images"), [])
    heads = saved.detector.roi_heads
    seen: list[torch.Tensor] = []
    hook = heads.box_head.register_forward_hook(lambda module, given, vectors: seen.append(vectors))
    detect_boxes(saved.detector, saved.vectors(split), annotations, opened)
    hook.remove()
    middle = torch.cat(seen).mean(0)
    found = detect_boxes(saved.detector, torch.stack([-middle, -middle, middle]), annotations, opened)
    assert sum(len(one.labels) for one in found) > 0
    assert all(one.labels[0] == 2 for one in found if len(one.labels))
    assert replace(split, novel=()).classes == ("green",)
