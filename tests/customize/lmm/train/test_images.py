"""Cached features are those that the tower computes in the step; images that cannot be used are errors by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from customize.clip.train.distributed import Worker
from customize.lmm.data.sample import ImageFile
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.train.images import CachedImages, StepImages, TowerImages, choose_images
from index.errors import BadInput, ClipmineError
from tests.customize.lmm.train.conftest import Material
from tests.customize.lmm.train.tiny_run import picture


@pytest.fixture(scope="module")
def lmm(material: Material) -> Lmm:
    return load_lmm(LmmSource(model=str(material.model)))


def images(count: int) -> list[ImageFile]:
    rng = np.random.default_rng(3)
    files = [picture(rng) for _ in range(count)]
    return [ImageFile(f"image{number}", lambda file=file: file) for number, file in enumerate(files)]  # type: ignore[misc]


def chosen(lmm: Lmm, folder: Path, some: list[ImageFile], cache: bool | None, repeated: bool) -> StepImages:
    return choose_images(lmm, Worker(), str(folder), some, cache=cache, repeated=repeated, bf16=False)


def test_cached_features_are_those_of_the_tower(lmm: Lmm, tmp_path: Path) -> None:
    some = images(3)
    tower, cached = TowerImages(lmm), chosen(lmm, tmp_path, [*some, some[0]], None, True)
    assert isinstance(cached, CachedImages)
    expected = tower.features([tower.load(image) for image in some])
    found = cached.features([cached.load(image) for image in some])
    assert found.shape == (3, 4, 32)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert tower.features([]).numel() == cached.features([]).numel() == 0


def test_features_are_cached_where_they_save_time(lmm: Lmm, tmp_path: Path) -> None:
    some = images(1)
    assert isinstance(chosen(lmm, tmp_path, some, None, False), TowerImages)
    assert isinstance(chosen(lmm, tmp_path, some, False, True), TowerImages)
    assert isinstance(chosen(lmm, tmp_path, some, True, False), CachedImages)


def test_features_that_do_not_fit_the_disk_are_computed_in_the_step(
    lmm: Lmm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customize.lmm.model.features.FREE_SHARE", 0.0)
    assert isinstance(chosen(lmm, tmp_path, images(1), None, True), TowerImages)
    with pytest.raises(BadInput, match="the disk has"):
        chosen(lmm, tmp_path, images(1), True, True)


def test_an_image_that_cannot_be_used_is_an_error_with_its_key(lmm: Lmm, tmp_path: Path) -> None:
    broken = ImageFile("broken", lambda: b"\x89PNG\r\n\x1a\nbroken")
    cached = chosen(lmm, tmp_path, [*images(1), broken], True, True)
    for how in (TowerImages(lmm), cached):
        with pytest.raises(ClipmineError, match="image broken: cannot be used"):
            how.load(broken)
    with pytest.raises(ClipmineError, match="image other: has no features"):
        cached.load(ImageFile("other", lambda: b""))
