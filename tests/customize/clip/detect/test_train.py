"""Training a detector: base classes alone, runs that are stopped and resumed, and what cannot be trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from customize.clip.detect.config import DetectConfig
from customize.clip.detect.folder import load_detector
from customize.clip.detect.train import DetectRecord, train_detector
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ClipmineError, OutputExists
from tests.customize.clip.detect.conftest import RECIPE, write_json

Made = Callable[..., DetectConfig]


def weights(config: DetectConfig) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_detector(config.out, "cpu").detector.state_dict()
    return tensors


def test_the_summary_adds_up_and_the_loss_falls(config: Made, squares: Path) -> None:
    own = config(recipe=replace(RECIPE, steps=30, optimizer="adamw"))
    records: list[DetectRecord] = []
    summary = train_detector(own, on_step=lambda record, total: records.append(record))
    about = json.loads((squares / "boxes.json").read_text())
    assert summary.images + sum(summary.images_left_out.values()) == len(about["images"])
    assert summary.boxes + sum(summary.left_out.values()) == len(about["annotations"])
    assert summary.left_out["of novel classes"] > 0
    assert (summary.base, summary.novel, summary.steps) == (2, 1, 30)
    assert summary.last_loss < summary.first_loss
    assert [record.step for record in records] == list(range(1, 31))
    assert records[3].loss == pytest.approx(sum(records[3].parts.values()))
    assert train_detector(own) == summary  # done: nothing is trained again


def test_boxes_of_novel_classes_change_nothing(config: Made, squares: Path, tmp_path: Path) -> None:
    about = json.loads((squares / "boxes.json").read_text())
    [blue] = [row["id"] for row in about["categories"] if row["name"] == "blue"]
    about["annotations"] = [row for row in about["annotations"] if row["category_id"] != blue]
    with_them, without = config("a"), config("b", annotations=str(write_json(tmp_path / "base.json", about)))
    assert train_detector(with_them).left_out != train_detector(without).left_out
    expected, found = weights(with_them), weights(without)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_that_was_stopped_continues_as_if_it_had_not_been(optimizer: Any, config: Made) -> None:
    recipe = replace(RECIPE, steps=4, optimizer=optimizer, lr=0.001, sizes=(48, 64))
    whole, stopped = config("whole", recipe=recipe), config("stopped", recipe=recipe, save_every=2)
    expected: list[float] = []
    train_detector(whole, on_step=lambda record, total: expected.append(record.loss))

    def stop(record: DetectRecord, total: int) -> None:
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_detector(stopped, on_step=stop)
    found: list[DetectRecord] = []
    train_detector(stopped, on_step=lambda record, total: found.append(record))
    assert [record.step for record in found] == [3, 4]
    assert [record.loss for record in found] == pytest.approx(expected[2:], abs=1e-5)
    log = [json.loads(line) for line in (Path(stopped.out) / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    trained, continued = weights(whole), weights(stopped)
    for name, tensor in trained.items():
        torch.testing.assert_close(continued[name], tensor, rtol=1e-4, atol=1e-5)


def test_another_run_does_not_continue_in_the_folder(config: Made) -> None:
    train_detector(config())
    with pytest.raises(OutputExists):
        train_detector(config(seed=1))


def test_a_loss_that_is_not_finite_stops_the_run_with_the_images(config: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from customize.clip.detect.detector import TextHeads

    broken = {"loss_classifier": torch.tensor(float("nan"), requires_grad=True)}
    monkeypatch.setattr(TextHeads, "_losses", lambda *arguments: broken)
    with pytest.raises(ClipmineError, match=r"step 1: the loss is not finite, at the images \d+.png.*lower --lr"):
        train_detector(config())


def test_a_vision_transformer_is_refused_and_leaves_no_folder(config: Made, tiny_clip_dir: Path) -> None:
    own = config(model=ModelSpec(model_dir=str(tiny_clip_dir)))
    with pytest.raises(BadInput, match=r"its image tower is a VisionTransformer, .*: take RN50:openai"):
        train_detector(own)
    train_detector(config())  # the folder is free
