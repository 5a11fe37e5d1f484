"""Shared by the tests of evaluation: two small CLIPs, pictures of known classes, class folders, and two small tasks."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import IGNORED, Dataset, Example, in_memory
from customize.clip.evaluate.dense import dense_features, dense_side, square_pixels
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.segmentation import ClassTexts
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from scenes.world.sample import sample
from scenes.world.scene import Scene
from tests.customize.clip.tiny_models import RESNET, clip
from tests.index.corpora import encode, write_tar

SCENES = Path(__file__).parents[4] / "scenes"
CLASSES = ("dog", "guitar", "apple", "castle")
COLORS = ("red", "dark green", "blue")


def eval_model(folder: Path) -> EvalModel:
    encoder = load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
    return EvalModel(encoder.model, encoder.preprocess, encoder.tokenize)


@pytest.fixture(scope="session")
def tiny(tiny_clip_dir: Path) -> EvalModel:
    """Random weights: vectors of 16."""
    return eval_model(tiny_clip_dir)


@pytest.fixture(scope="session")
def tiny_resnet() -> EvalModel:
    """Random weights of CLIP's ResNet in its smallest form: images of 32 pixels, vectors of 16."""
    from open_clip.transform import image_transform

    return EvalModel(clip(RESNET), image_transform(32, is_train=False), lambda texts: texts)


@pytest.fixture(scope="session")
def scenes_clip() -> EvalModel:
    """The scenes' CLIP, which was trained on pictures like those below."""
    return eval_model(SCENES / "models" / "clip")


def picture(name: str, number: int) -> Example:
    """A held-out scene whose one object is replaced by one of a type of CLASSES."""
    from scenes.drawing.render import render

    scene = _grounds()[number]
    thing = dataclasses.replace(scene.objects[0], type=name, target=None, entity=None, x=0.5, size=1.0)
    shown = dataclasses.replace(scene, objects=(thing,))
    drawn = functools.cache(lambda: render(shown).image)  # drawing takes longer than the tiny models
    return Example(f"{name}{number}", lambda: Image.fromarray(drawn()), (CLASSES.index(name),), (name,))


@functools.cache
def _grounds() -> list[Scene]:
    return [dataclasses.replace(sample("test", number), place="meadow", light="day") for number in range(8)]


@pytest.fixture(scope="session")
def pictures() -> list[Example]:
    """Eight pictures of each of CLASSES, decoded when asked."""
    return [picture(name, number) for name in CLASSES for number in range(8)]


@pytest.fixture(scope="session")
def color_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with colors.yaml (three classes) and captions.yaml (retrieval) and their tars: six pictures a split."""
    folder = tmp_path_factory.mktemp("task")
    for split in ("train", "test"):
        (folder / "images" / split).mkdir(parents=True)
        members = []
        for number, color in enumerate(("red", "green", "blue") * 2):
            members += [
                (f"{number}.jpg", encode(Image.new("RGB", (32, 32), color), "JPEG")),
                (f"{number}.cls", color.encode()),
                (f"{number}.txt", f"a {color} picture".encode()),
            ]
        write_tar(folder / "images" / split / "0.tar", members)
    about = "name: colors\ndata: images\nsplits: {train: train, test: test}\ntemplates: ['a {}']\n"
    (folder / "colors.yaml").write_text(about + "classes: [red, green, blue]\n")
    (folder / "captions.yaml").write_text("name: said\nkind: retrieval\ndata: images\nsplits: {test: test}\n")
    return folder


def halves(count: int = 4) -> Dataset:
    """Left half red, right half blue, with masks 0 and 1 and one pixel that is IGNORED."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 255
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 1
    mask[0, 0] = IGNORED
    examples = [Example(str(n), lambda: Image.fromarray(pixels), mask=lambda: mask) for n in range(count)]
    return in_memory("halves", ("red", "blue"), examples)


def texts_of(model: EvalModel) -> ClassTexts:
    """The patch vectors of red and blue as their text vectors: what a model that knows the two colours would have."""
    image = next(iter(halves())).open()
    with torch.inference_mode():
        found = dense_features(model, square_pixels(model, dense_side(model))(image)[None])
    rows = found.vectors[0].mean(0)
    return ClassTexts(torch.stack([rows[0], rows[-1]]).numpy(), np.array([0, 1]))


def jpeg(color: str) -> bytes:
    """A picture of 8 x 8 pixels."""
    return encode(Image.new("RGB", (8, 8), color.replace(" ", "")), "JPEG")


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """FOLDER/test/COLOR/0.jpg and 1.jpg, with `_` for the blank of "dark green"."""
    for color in COLORS:
        folder = tmp_path / "set" / "test" / color.replace(" ", "_")
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.jpg").write_bytes(jpeg(color))
    return tmp_path / "set"
