"""What the evaluation's tests share: the tiny CLIP, the scenes' CLIP, and pictures of known types."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest

from customize.clip.evaluate.datasets.dataset import Example
from customize.clip.evaluate.features import EvalModel
from index.encoder.clip_encoder import load_encoder
from index.encoder.model_spec import ModelSpec
from scenes.world.sample import sample
from scenes.world.scene import Scene

SCENES = Path(__file__).parents[4] / "scenes"
CLASSES = ("dog", "guitar", "apple", "castle")


def eval_model(folder: Path) -> EvalModel:
    encoder = load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
    return EvalModel(encoder.model, encoder.preprocess, encoder.tokenize)


@pytest.fixture(scope="session")
def tiny(tiny_clip_dir: Path) -> EvalModel:
    """Random weights: vectors of 16."""
    return eval_model(tiny_clip_dir)


@pytest.fixture(scope="session")
def scenes_clip() -> EvalModel:
    """The scenes' CLIP, which knows the pictures below."""
    return eval_model(SCENES / "models" / "clip")


def picture(name: str, number: int) -> Example:
    """A held-out scene whose one object is replaced by one of a type of CLASSES."""
    from PIL import Image

    from scenes.drawing.render import render

    scene = _grounds()[number]
    thing = dataclasses.replace(scene.objects[0], type=name, target=None, entity=None, x=0.5, size=1.0)
    shown = dataclasses.replace(scene, objects=(thing,))
    return Example(f"{name}{number}", lambda: Image.fromarray(render(shown).image), (CLASSES.index(name),), (name,))


@functools.cache
def _grounds() -> list[Scene]:
    return [dataclasses.replace(sample("test", number), place="meadow", light="day") for number in range(8)]


@pytest.fixture(scope="session")
def pictures() -> list[Example]:
    """Eight pictures of each of CLASSES, decoded when asked."""
    return [picture(name, number) for name in CLASSES for number in range(8)]
