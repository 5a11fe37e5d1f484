"""The detect job: training with progress, a result as JSON, and what is checked before a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from customize.clip.detect.config import DetectConfig
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.detect_job import HeldOutBoxes, run_detect, run_detect_test
from tests.conftest import write_tiny_clip
from tests.customize.clip.detect.conftest import RECIPE, RESNET, write_squares


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "set")


def config(data: Path, folder: Path, out: Path) -> DetectConfig:
    folder.mkdir(exist_ok=True)
    model = write_tiny_clip(folder, **RESNET)
    places: dict[str, Any] = {
        "annotations": str(data / "boxes.json"),
        "images": str(data / "images"),
        "split": str(data / "split.json"),
    }
    return DetectConfig(out=str(out), model=ModelSpec(model_dir=str(model)), recipe=RECIPE, device="cpu", **places)


def test_it_trains_and_measures_with_progress(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own = config(data, tmp_path / "clip", tmp_path / "out")
    test = HeldOutBoxes("boxes.json", "images")
    monkeypatch.chdir(data)  # relative paths are those of the caller
    done = run_detect(own, test)
    assert done.train is not None
    assert done.test is not None
    assert done.result == str(tmp_path / "out" / "result.json")
    assert json.loads(Path(str(done.result)).read_text())["per_class"] == done.test.per_class
    said = capfd.readouterr().err
    assert "detect: 4/4 steps, loss " in said
    assert "test: 12/12 images" in said
    again = run_detect_test(own.out, test, objectness=True, device="cpu", result=str(tmp_path / "other.json"))
    assert again.test is not None
    assert again.test.images == done.test.images
    assert (tmp_path / "other.json").exists()


def test_what_is_tested_on_is_looked_for_before_the_training(data: Path, tmp_path: Path) -> None:
    own = config(data, tmp_path / "clip", tmp_path / "out")
    with pytest.raises(BadInput, match=r"none.json: there is no such file or folder to test on"):
        run_detect(own, HeldOutBoxes(str(data / "none.json"), str(data / "images")))
    assert not (tmp_path / "out").exists()
    summary = run_detect(replace(own, recipe=replace(RECIPE, steps=1)))
    assert (summary.test, summary.result) == (None, None)
