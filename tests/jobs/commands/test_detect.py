"""`clipmine detect`: what it says, its defaults, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from customize.clip.detect.config import DetectConfig, Recipe
from index.encoder.model_spec import ModelSpec
from jobs.cli import run
from jobs.commands.detect import command
from tests.conftest import write_tiny_clip
from tests.customize.clip.detect.conftest import RESNET, write_squares
from tests.jobs.running import Fails


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of squares, and beside it the folder `clip` of a model."""
    folder = write_squares(tmp_path_factory.mktemp("data") / "set")
    (folder / "clip").mkdir()
    write_tiny_clip(folder / "clip", **RESNET)
    return folder


def sources(data: Path) -> list[str]:
    own = ["--annotations", str(data / "boxes.json"), "--images", str(data / "images")]
    return [*own, "--split", str(data / "split.json"), "--device", "cpu"]


def test_it_says_what_was_trained_and_measured(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "detector")
    held_out = ["--test-annotations", str(data / "boxes.json"), "--test-images", str(data / "images")]
    small = ["--steps", "2", "--batch-size", "4", "--sizes", "64", "--longest", "64", "--anchors", "8,16"]
    asked = [*sources(data), *held_out, *small, "--boxes-per-image", "16", "--out", out]
    assert run(["detect", str(data / "clip"), *asked]) == 0
    shown = capfd.readouterr().out
    for line in ("classes", "- left out: of novel classes", "AP50 base", "AP50 novel", "AP50 all", "result"):
        assert line in shown
    assert run(["detect", out, *held_out, "--device", "cpu", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["train"] is None
    assert set(found["test"]["per_class"]) == {"red", "green", "blue"}


def configured(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> DetectConfig:
    """The configuration that the command makes of its arguments; nothing is trained."""
    seen: list[DetectConfig] = []

    def stop(config: DetectConfig, *others: Any, **choices: Any) -> None:
        seen.append(config)
        raise RuntimeError("not trained")

    monkeypatch.setattr("jobs.detect_job.run_detect", stop)
    with pytest.raises(RuntimeError, match="not trained"):
        command.main([*arguments, "--annotations", "a", "--images", "b", "--out", "c"], standalone_mode=False)
    return seen[0]


def test_defaults_are_those_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = DetectConfig(out="c", model=ModelSpec("RN50", "openai"), annotations="a", images="b")
    assert configured(monkeypatch, "RN50:openai") == plain
    chosen = configured(
        monkeypatch, "some/clip", "--sizes", "96,128", "--cut-after", "4", "--zero-background", "--optimizer", "adamw"
    )
    assert chosen.model.model_dir is not None
    assert chosen.recipe == Recipe(sizes=(96, 128), cut_after=4, learned_background=False, optimizer="adamw")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RN50:openai"], "to train a detector, give --annotations and --images and --out"),
        (["RN50:openai", "--test-images", "x"], "--test-annotations and --test-images belong together"),
        (["RN50:openai", "--objectness"], "--objectness would have no effect without --test-annotations"),
        (["RN50:openai", "--sizes", "a,b"], "'a,b' is no list of numbers such as 640,800"),
        (
            ["RN50:openai", "--annotations", "a", "--images", "b", "--out", "c", "--lr", "0"],
            "--lr 0.0: must be above 0",
        ),
    ],
)
def test_contradictions_are_one_line(arguments: list[str], said: str, fails: Fails) -> None:
    line, status = fails("detect", *arguments)
    assert said in line
    assert status == 2


def test_a_vision_transformer_and_a_box_outside_its_image_are_one_line(
    data: Path, tiny_clip_dir: Path, tmp_path: Path, fails: Fails
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "take RN50:openai" in fails("detect", str(tiny_clip_dir), *sources(data), *out)[0]
    about = json.loads((data / "boxes.json").read_text())
    about["annotations"][0]["bbox"] = [50, 0, 40, 10]
    (tmp_path / "boxes.json").write_text(json.dumps(about))
    wrong = [*sources(data), "--annotations", str(tmp_path / "boxes.json")]
    line, status = fails("detect", str(data / "clip"), *wrong, *out)
    assert "[50, 0, 90, 10] lies outside of the image of 64 x 64 pixels" in line
    assert status == 2
