"""The tiny CLIP as an encoder and in open_clip's registry, texts and images to encode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from PIL import Image

from index.encoder.clip_encoder import Encoder
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec

TEXTS = [
    "a red circle",
    "",
    "a photo of two dogs, and a cat!",
    "blue " * 60,
    "café ☕ &amp; Straße",
    "<end_of_text> hi",
]


@pytest.fixture(scope="session")
def encoder(tiny_clip_dir: Path) -> Encoder:
    return load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")


@pytest.fixture
def registry(tiny_clip_dir: Path, tmp_path: Path) -> Iterator[str]:
    """The tiny CLIP in open_clip's registry, with two tags for the same weights: one of them is QuickGELU."""
    name = "tiny-clip-for-tests"
    config = json.loads((tiny_clip_dir / "open_clip_config.json").read_text())
    (tmp_path / f"{name}.json").write_text(json.dumps(config["model_cfg"]))
    weights = str(tiny_clip_dir / "open_clip_model.safetensors")
    open_clip.add_model_config(tmp_path / f"{name}.json")
    tags = {"quick": {"file": weights, "quick_gelu": True}, "plain_one": {"file": weights}}
    open_clip.pretrained._PRETRAINED[name] = tags
    yield name
    del open_clip.pretrained._PRETRAINED[name]
    del open_clip.factory._MODEL_CONFIGS[name]
    open_clip.factory._MODEL_CONFIG_PATHS.pop()


def random_images() -> list[Image.Image]:
    chance = np.random.default_rng(0)
    sizes = [(32, 32), (50, 33), (33, 50), (200, 31), (7, 9), (640, 480)]
    return [Image.fromarray(chance.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def copy_model(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model folder, with changes to its preprocessing."""
    shutil.copytree(source, target)
    config = json.loads((target / "open_clip_config.json").read_text())
    config["preprocess_cfg"].update(changes)
    (target / "open_clip_config.json").write_text(json.dumps(config))
    return target
