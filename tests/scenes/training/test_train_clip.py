"""Batches, and a short training that a killed run continues and exports as an open_clip model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from scenes.training import train_clip
from scenes.training.objective import Batch
from scenes.training.train_clip import MODEL_FOLDER, NAME_TEMPLATES, Batches, main, name_tokens
from scenes.training.train_data import prepare
from scenes.world.catalog import load_catalog


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train_clip")
    prepare(out, count=16, workers=1)
    return out


def test_an_epoch_has_every_scene_once_and_a_step_is_always_the_same(data: Path) -> None:
    batches = Batches(data, 4, seed=0)
    assert sorted(np.concatenate([batches.rows(step) for step in range(4)]).tolist()) == list(range(16))
    one, again = batches(2, "cpu"), Batches(data, 4, seed=0)(2, "cpu")
    assert torch.equal(one.tokens, again.tokens)
    assert torch.equal(one.pixels, again.pixels)
    assert not torch.equal(one.pixels, batches(3, "cpu").pixels)


def test_a_batch_has_the_shapes_that_the_objective_takes(data: Path) -> None:
    batch = Batches(data, 8, seed=1)(0, "cpu")
    objects = len(batch.region_image)
    assert batch.pixels.shape == (8, 3, 96, 96)
    assert batch.tokens.shape[0] == len(batch.named) == len(batch.shown) == 8
    assert 0 < objects <= 16
    assert batch.region_patches.shape == (objects, 64)
    assert batch.region_patches.any(dim=1).all()
    assert (batch.region_type == batch.shown[batch.region_image].gather(1, _positions(batch)[:, None])[:, 0]).all()


def _positions(batch: Batch) -> torch.Tensor:
    """The position of each object's type among the types that its image shows."""
    same = batch.shown[batch.region_image] == batch.region_type[:, None]
    positions: torch.Tensor = same.int().argmax(dim=1)
    return positions


def test_names_are_encoded_in_every_template(data: Path) -> None:
    tokens = name_tokens(data / "tokenizer")
    assert tokens.shape[:2] == (len(load_catalog().types), len(NAME_TEMPLATES))
    assert (tokens[:, :, 0] > 0).all()


def test_a_run_continues_from_its_checkpoint_and_exports_an_open_clip_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_clip, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(train_clip, "BATCH", 4)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # compiling takes longer than the steps
    train_clip.train(data, tmp_path / "model", minutes=10, steps=2, batch=4)
    about = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (about["steps"], about["batch"], about["scenes"]) == (2, 4, 16)
    model = train_clip.train(data, tmp_path / "model", minutes=10, steps=3, batch=4)
    assert json.loads((tmp_path / "model" / "training.json").read_text())["steps"] == 3
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'model'}")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-2, rtol=1e-2)  # exported as float16


def test_the_command_names_its_folders(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--data" in capsys.readouterr().out
    assert (MODEL_FOLDER / "open_clip_model.safetensors").exists()
