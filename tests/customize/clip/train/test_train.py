"""Whole runs: what trains and what stays, the same losses after a kill, and the summary and card of a model."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from customize.clip.model_folder import load_customized
from customize.clip.strategies import STRATEGIES
from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.log import StepRecord
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ImagesNotLocal
from index.store.embedding_store import EmbeddingStore
from index.store.output_register import registered_outputs
from retrieval.selection import Selection
from tests.customize.clip.train.runs import STEPS, broken_pairs, config, losses, run

WEIGHTS = "open_clip_model.safetensors"
TRAINED = [name for name in STRATEGIES if name != "none"]


@pytest.mark.parametrize("strategy", TRAINED)
def test_every_strategy_trains_its_own_weights_and_the_model_comes_back(
    strategy: str, small_selection: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    # The tiny towers have two blocks; a gated block before the last leaves one frozen below it.
    gated_blocks = 1 if STRATEGIES[strategy].gated else None
    summary, log = run(tmp_path / "model", small_selection, strategy=strategy, gated_blocks=gated_blocks)
    assert [record.step for record in log] == list(range(1, STEPS + 1))
    assert all(np.isfinite(losses(log)))
    before, after = load_file(tiny_clip_dir / WEIGHTS), load_file(tmp_path / "model" / WEIGHTS)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert {name for name in changed if not STRATEGIES[strategy].trains(name)} == set()
    about = json.loads((tmp_path / "model" / "customize.json").read_text())
    assert summary.trainable == about["trainable"]
    loaded = load_customized(tmp_path / "model", "cpu").model.state_dict()
    assert set(loaded) == set(after)
    assert all(torch.equal(loaded[name], weight) for name, weight in after.items())


def test_strategy_none_gives_the_model_as_it_is(small_selection: str, tiny_clip_dir: Path, tmp_path: Path) -> None:
    summary = train(config(tmp_path / "model", small_selection, strategy="none"))
    assert summary.steps == 0
    before, after = load_file(tiny_clip_dir / WEIGHTS), load_file(tmp_path / "model" / WEIGHTS)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_lowers_the_loss(small_selection: str, tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "model", small_selection, strategy="locked-text", steps=40, lr=3e-3)
    assert summary.first_loss is not None
    assert summary.last_loss is not None
    assert summary.last_loss < summary.first_loss - 0.1


def test_a_run_killed_in_training_resumes_to_the_same_losses(small_selection: str, tmp_path: Path) -> None:
    choices = {"steps": 30, "save_every": 4, "ema": 0.9}
    _, whole = run(tmp_path / "whole", small_selection, **choices)
    out = tmp_path / "killed"
    program = (
        "import sys, time; from pathlib import Path; from tests.customize.clip.train.runs import config; "
        "from customize.clip.train.train import train; "
        f"train(config(Path({str(out)!r}), {small_selection!r}, **{choices!r}), on_step=lambda *_: time.sleep(0.02))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[4])
    deadline = time.monotonic() + 120
    while not _steps_written(out) >= 12:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = _steps_written(out)
    assert not (out / "manifest.json").exists()
    checkpoint = last_checkpoint(str(out / "checkpoints"))
    assert checkpoint is not None
    assert 4 <= checkpoint.step <= reached < 30
    _, resumed = run(out, small_selection, **choices)
    assert [record.step for record in resumed] == list(range(1, 31))
    # To rounding: memory may be aligned, and sums split among threads, in another way.
    np.testing.assert_allclose(losses(resumed), losses(whole), rtol=0, atol=1e-5)
    for name, tensor in load_file(tmp_path / "whole" / WEIGHTS).items():
        torch.testing.assert_close(load_file(out / WEIGHTS)[name], tensor, rtol=0, atol=1e-5)


def _steps_written(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def test_a_finished_run_is_not_run_again(small_selection: str, tmp_path: Path) -> None:
    first, _ = run(tmp_path / "model", small_selection)
    seen: list[StepRecord] = []
    assert train(config(tmp_path / "model", small_selection), on_step=lambda record, _: seen.append(record)) == first
    assert not seen
    outputs = registered_outputs(Selection.open(small_selection).store())
    assert str(tmp_path / "model") in [output.path for output in outputs if output.kind == "model"]


def test_the_locked_text_tower_never_runs(
    small_selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the text tower ran")

    monkeypatch.setattr(open_clip.CLIP, "encode_text", refuse)
    summary, log = run(tmp_path / "model", small_selection)
    assert summary.texts == "the store"
    assert len(log) == STEPS


def test_exported_tars_give_the_losses_of_the_selection(
    known_store: EmbeddingStore, small_export: str, small_selection: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    _, selected = run(tmp_path / "selection", small_selection)
    _, named = run(tmp_path / "named", tars=small_export, store=str(known_store.path))
    np.testing.assert_allclose(losses(named), losses(selected), atol=1e-5)
    model = ModelSpec(model_dir=str(tiny_clip_dir))
    _, computed = run(tmp_path / "computed", tars=small_export, model=model)
    # Texts are float16 in both, but were computed in other batches.
    np.testing.assert_allclose(losses(computed), losses(selected), atol=2e-3)


def test_cached_activations_give_the_losses_of_the_whole_tower(small_selection: str, tmp_path: Path) -> None:
    _, cached = run(tmp_path / "cached", small_selection, gated_blocks=1, cache_prefix=True)
    _, plain = run(tmp_path / "plain", small_selection, gated_blocks=1, cache_prefix=False)
    np.testing.assert_allclose(losses(cached), losses(plain), atol=2e-3)  # the cache is float16


def test_gradient_checkpointing_and_loading_processes_do_not_change_the_losses(
    small_selection: str, tmp_path: Path
) -> None:
    _, plain = run(tmp_path / "plain", small_selection, augment="released", loaders=0)
    _, other = run(tmp_path / "other", small_selection, augment="released", loaders=2, grad_checkpoint=True)
    np.testing.assert_allclose(losses(other), losses(plain), atol=1e-5)


def test_the_average_is_what_is_saved(small_selection: str, tmp_path: Path) -> None:
    run(tmp_path / "plain", small_selection, strategy="locked-text")
    run(tmp_path / "average", small_selection, strategy="locked-text", ema=0.5)
    name = "visual.proj"
    checkpoint = load_file(tmp_path / "average" / "checkpoints" / "00000006.safetensors")
    saved = load_file(tmp_path / "average" / WEIGHTS)[name]
    assert torch.equal(saved, checkpoint[f"average.{name}"])
    assert not torch.equal(saved, checkpoint[f"weight.{name}"])


def test_a_checkpoint_of_another_run(small_selection: str, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        run(tmp_path / name, small_selection, seed=seed)
    (tmp_path / "two" / "manifest.json").unlink()
    checkpoint = tmp_path / "two" / "checkpoints" / "00000006.safetensors"
    shutil.copyfile(tmp_path / "one" / "checkpoints" / checkpoint.name, checkpoint)
    with pytest.raises(BadInput, match="is the checkpoint of another run"):
        run(tmp_path / "two", small_selection, seed=1)


def test_concepts_without_images_are_named(small_selection: str, tmp_path: Path) -> None:
    selection = tmp_path / "selection"
    shutil.copytree(small_selection, selection)
    manifest = json.loads((selection / "manifest.json").read_text())
    manifest["store"]["relative"] = None  # the copy lies elsewhere
    manifest["concepts"].append({**manifest["concepts"][0], "name": "unicorn", "hits": 0, "rows": 0, "reserve": 0})
    (selection / "manifest.json").write_text(json.dumps(manifest))
    summary, _ = run(tmp_path / "model", str(selection))
    assert "of 5 concepts have no images: " in summary.warnings[0]
    assert summary.warnings[0].endswith("unicorn")


def test_images_that_are_gone_stop_the_run(small_export: str, tiny_clip_dir: Path, tmp_path: Path) -> None:
    tars = tmp_path / "tars"
    shutil.copytree(small_export, tars)
    model = ModelSpec(model_dir=str(tiny_clip_dir))

    def remove(record: StepRecord, _: int) -> None:
        for tar in tars.glob("*.tar"):
            tar.unlink()

    with pytest.raises(ImagesNotLocal, match="is gone; put the corpus back"):
        train(config(tmp_path / "model", tars=str(tars), model=model, steps=40, cache_prefix=False), on_step=remove)


def test_a_model_of_siglips_kind_is_trained_with_its_sigmoid_loss(
    small_export: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    siglip = shutil.copytree(tiny_clip_dir, tmp_path / "siglip")
    described = json.loads((siglip / "open_clip_config.json").read_text())
    described["model_cfg"] |= {"init_logit_scale": math.log(150), "init_logit_bias": -10.0}
    (siglip / "open_clip_config.json").write_text(json.dumps(described))
    weights = load_file(siglip / "open_clip_model.safetensors")
    start = {"logit_scale": torch.tensor(math.log(150)), "logit_bias": torch.tensor(-10.0)}
    save_file({**weights, **start}, siglip / "open_clip_model.safetensors")
    asked = {"tars": small_export, "model": ModelSpec(model_dir=str(siglip)), "strategy": "locked-text"}
    summary, log = run(tmp_path / "model", None, **asked)
    assert summary.objective.startswith("SigLIP's sigmoid loss")
    assert summary.trainable["logit_bias"] == 1
    assert "sigmoid" in (tmp_path / "model" / "README.md").read_text()
    assert log[-1].logit_scale > 100  # SigLIP's own factor is not clamped
    trained = load_customized(tmp_path / "model").model
    assert float(trained.logit_bias) != -10.0


def test_a_run_that_took_no_step_leaves_its_folder_to_a_corrected_one(small_selection: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--cache-prefix"):
        train(config(tmp_path / "model", small_selection, strategy="full", cache_prefix=True))
    assert not (tmp_path / "model").exists()
    assert run(tmp_path / "model", small_selection, strategy="full", batch_size=4)[0].batch == 4


def test_a_broken_image_does_not_stop_the_run(tiny_clip_dir: Path, tmp_path: Path) -> None:
    tar = str(tmp_path / "0.tar")
    broken_pairs(tmp_path, {2}, 6)
    model = ModelSpec(model_dir=str(tiny_clip_dir))
    summary, log = run(tmp_path / "model", None, tars=tar, model=model, batch_size=6, cache_prefix=False)
    assert (summary.pairs, len(log)) == (6, STEPS)
    assert all(np.isfinite(losses(log)))


def test_the_card_has_the_choices_and_no_paths(small_selection: str, tmp_path: Path) -> None:
    run(tmp_path / "model", small_selection)
    text = (tmp_path / "model" / "customize.json").read_text()
    card = json.loads(text)["card"]
    assert (card["training"]["batch"], card["training"]["steps"], card["training"]["pairs"]) == (8, 6, 33)
    assert card["data"]["rows"] == 33
    assert str(tmp_path) not in text
    assert small_selection not in text
