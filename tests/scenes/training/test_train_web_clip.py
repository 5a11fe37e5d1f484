"""Batches of the web CLIP, and a short training that continues and exports an open_clip model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from scenes.training import train_web_clip
from scenes.training.train_web_clip import MODEL, WebBatches, clip_loss
from scenes.training.web_data import prepare_web


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train_web_clip")
    prepare_web(out / "arrays", out / "tars", 16, workers=1)
    return out / "arrays"


def test_an_epoch_has_every_pair_once_and_a_step_is_always_the_same(data: Path) -> None:
    batches = WebBatches(data, 4, seed=0)
    assert sorted(np.concatenate([batches.rows(step) for step in range(4)]).tolist()) == list(range(16))
    one, again = batches(2), WebBatches(data, 4, seed=0)(2)
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], batches(3)[0])


def test_the_loss_is_clips_with_each_pairs_own_text(data: Path) -> None:
    model = open_clip.model.CLIP(MODEL["embed_dim"], dict(MODEL["vision_cfg"]), dict(MODEL["text_cfg"])).eval()
    pixels, tokens = WebBatches(data, 8, seed=0)(0)
    with torch.no_grad():
        loss = clip_loss(model, pixels, tokens, None, model.visual.transformer)
        context = torch.nn.functional.pad(tokens, (0, MODEL["text_cfg"]["context_length"] - tokens.shape[1]))
        image, text, scale = model(pixels, context)[:3]
        expected = open_clip.ClipLoss()(image, text, scale)
    assert loss.item() == pytest.approx(expected.item(), abs=0.02)  # bfloat16


def test_a_run_continues_from_its_checkpoint_and_exports_an_open_clip_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_web_clip, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # compiling takes longer than the steps
    train_web_clip.train(data, tmp_path / "model", minutes=10, steps=2, batch=4)
    model = train_web_clip.train(data, tmp_path / "model", minutes=10, steps=3, batch=4)
    about = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (about["steps"], about["batch"], about["scenes"]) == (3, 4, 16)
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'model'}")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-2, rtol=1e-2)  # exported as float16
