"""Detectors as folders: what is saved comes back, and other classes need the CLIP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from customize.clip.detect.config import DetectConfig
from customize.clip.detect.folder import is_detector, load_detector, tower_shape
from customize.clip.detect.train import train_detector
from customize.clip.detect.vocabulary import Vocabulary
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ModelMismatch
from tests.conftest import write_tiny_clip
from tests.customize.clip.detect.conftest import RECIPE, RESNET, tower


def test_the_shape_of_a_tower_makes_one_like_it() -> None:
    from open_clip.modified_resnet import ModifiedResNet

    visual = tower()
    other = ModifiedResNet(**tower_shape(visual))
    other.load_state_dict(visual.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other.eval()(pixels), visual(pixels))


def test_a_detector_comes_back_with_its_classes(config: Callable[..., DetectConfig]) -> None:
    own = config()
    assert not is_detector(own.out)
    train_detector(own)
    assert is_detector(own.out)
    saved = load_detector(own.out, "cpu")
    assert saved.vocabulary.classes == ("red", "green", "blue")
    assert (saved.recipe, saved.model) == (RECIPE, own.model)
    assert saved.texts.shape == (3, 16)
    assert len(saved.detector.roi_heads.box_predictor.texts) == 3
    assert not saved.detector.training
    subset = Vocabulary("some", ("blue",), ("red",), templates=("a {}",))
    torch.testing.assert_close(saved.vectors(subset), saved.texts[[2, 0]])


def test_other_classes_are_named_by_the_clip_that_it_came_from(
    config: Callable[..., DetectConfig], resnet_dir: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "clip"
    shutil.copytree(resnet_dir, clip)
    own = config(model=ModelSpec(model_dir=str(clip)))
    train_detector(own)
    saved = load_detector(own.out, "cpu")
    vectors = saved.vectors(Vocabulary("more", ("blue", "a sphere"), templates=("a {}",)))
    torch.testing.assert_close(vectors[0], saved.texts[2])
    assert vectors.shape == (2, 16)
    write_tiny_clip(clip, seed=1, **RESNET)
    with pytest.raises(ModelMismatch, match="the detector was made with"):
        saved.vectors(Vocabulary("more", ("a sphere",), templates=("a {}",)))


def test_a_folder_without_or_with_a_broken_detector_is_one_line(
    config: Callable[..., DetectConfig], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"is no detector \(it has no detector.json\)"):
        load_detector(str(tmp_path))
    own = config()
    train_detector(own)
    about = json.loads((Path(own.out) / "detector.json").read_text())
    about["tower"]["width"] = 32
    (Path(own.out) / "detector.json").write_text(json.dumps(about))
    with pytest.raises(BadInput, match="its files do not fit together") as refused:
        load_detector(own.out)
    assert "\n" not in str(refused.value)
