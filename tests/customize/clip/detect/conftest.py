"""Shared by the tests of detection: a CLIP with a small ResNet, and pictures of coloured squares in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from customize.clip.detect.config import DetectConfig, Recipe
from index.encoder.model_spec import ModelSpec
from tests.conftest import write_tiny_clip

COLORS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200)}
SIDE = 64  # of the pictures, and of the images that the model was made for
RESNET: dict[str, Any] = {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
RECIPE = Recipe(
    sizes=(SIDE,), longest=SIDE, anchors=(8, 16, 32), boxes_per_image=16, proposals=40, batch_size=4, steps=4, lr=0.001
)


@pytest.fixture(scope="session")
def resnet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: a ResNet of random weights with 2 x 2 places before the attention pooling, vectors of 16."""
    return write_tiny_clip(tmp_path_factory.mktemp("resnet"), **RESNET)


def tower(seed: int = 0) -> Any:
    """Its image tower, with batch norms that fit noise and hide no block: its vectors of two images differ clearly."""
    from open_clip.modified_resnet import ModifiedResNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        visual = ModifiedResNet((1, 1, 1, 1), output_dim=16, heads=8, image_size=SIDE, width=16)
        for module in visual.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                module.momentum = 1.0
        with torch.no_grad():
            visual.train()(torch.randn(8, 3, SIDE, SIDE))
    return visual.eval()


def write_squares(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """FOLDER/images, boxes.json and split.json (blue is novel): each picture has one or two squares."""
    chance = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number in range(count):
        pixels = np.full((SIDE, SIDE, 3), 230, np.uint8)
        for place in range(1 + number % 2):
            side = int(chance.integers(14, 24))
            x, y = int(chance.integers(0, 30 - side // 2)) + 32 * place, int(chance.integers(0, SIDE - side))
            side = min(side, SIDE - x)
            color = int(chance.integers(3))
            pixels[y : y + side, x : x + side] = list(COLORS.values())[color]
            about = {"id": len(boxes) + 1, "image_id": number, "category_id": 10 + color, "iscrowd": 0}
            boxes.append({**about, "bbox": [x, y, side, side], "area": side * side})
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    categories = [{"id": 10 + number, "name": name} for number, name in enumerate(COLORS)]
    write_json(folder / "boxes.json", {"images": images, "annotations": boxes, "categories": categories})
    write_json(
        folder / "split.json", {"name": "colors", "templates": ["a {}"], "base": ["red", "green"], "novel": ["blue"]}
    )
    return folder


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `write_squares`. Shared: read it, don't change it."""
    return write_squares(tmp_path_factory.mktemp("squares") / "set")


@pytest.fixture
def config(resnet_dir: Path, squares: Path, tmp_path: Path) -> Callable[..., DetectConfig]:
    """A training of four steps; its fields can be replaced."""

    def made(out: str = "detector", **others: Any) -> DetectConfig:
        fields: dict[str, Any] = {
            "model": ModelSpec(model_dir=str(resnet_dir)),
            "annotations": str(squares / "boxes.json"),
            "images": str(squares / "images"),
            "split": str(squares / "split.json"),
            "recipe": RECIPE,
            "device": "cpu",
        }
        return DetectConfig(out=str(tmp_path / out), **{**fields, **others})

    return made
