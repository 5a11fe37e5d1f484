"""Training: what trains and what stays, the same curve after a kill, nothing computed twice, bad input in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from customize.clip.model_folder import load_customized
from customize.clip.strategies import STRATEGIES
from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ClipmineError, ImagesNotLocal, ModelMismatch, OutputExists
from index.store.embedding_store import EmbeddingStore
from tests.conftest import write_tiny_clip
from tests.customize.clip.train.runs import STEPS, config, losses, run
from tests.index.corpora import write_tar
from tests.mining.made_sets import write_test_selection

TRAINED = [name for name in STRATEGIES if name != "none"]


@pytest.mark.parametrize("strategy", TRAINED)
def test_every_strategy_trains_its_own_weights_and_the_model_comes_back(
    strategy: str, small_selection: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    summary, log = run(tmp_path / "model", small_selection, strategy=strategy, gated_blocks=_one_block(strategy))
    assert [record.step for record in log] == list(range(1, STEPS + 1))
    assert all(np.isfinite(losses(log)))
    before = load_file(tiny_clip_dir / "open_clip_model.safetensors")
    after = load_file(tmp_path / "model" / "open_clip_model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(STRATEGIES[strategy].trains(name) for name in changed)
    assert changed
    assert summary.trainable == load_customized_counts(tmp_path / "model")
    assert load_customized(tmp_path / "model", "cpu").model is not None


def load_customized_counts(folder: Path) -> dict[str, int]:
    counts: dict[str, int] = json.loads((folder / "customize.json").read_text())["trainable"]
    return counts


def _one_block(strategy: str) -> int | None:
    """The tiny towers have two blocks; a gate before the last leaves one frozen below it."""
    return 1 if STRATEGIES[strategy].gated else None


def test_strategy_none_gives_the_model_as_it_is(small_selection: str, tiny_clip_dir: Path, tmp_path: Path) -> None:
    summary = train(config(tmp_path / "model", small_selection, strategy="none"))
    assert summary.steps == 0
    before = load_file(tiny_clip_dir / "open_clip_model.safetensors")
    after = load_file(tmp_path / "model" / "open_clip_model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_lowers_the_loss(small_selection: str, tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "model", small_selection, strategy="locked-text", steps=40, lr=3e-3)
    assert summary.first_loss is not None
    assert summary.last_loss is not None
    assert summary.last_loss < summary.first_loss - 0.1


def test_a_run_killed_in_training_goes_on_to_the_same_curve(small_selection: str, tmp_path: Path) -> None:
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
    np.testing.assert_allclose(losses(resumed), losses(whole), rtol=0, atol=1e-6)
    for name, tensor in load_file(tmp_path / "whole" / "open_clip_model.safetensors").items():
        torch.testing.assert_close(load_file(out / "open_clip_model.safetensors")[name], tensor, rtol=0, atol=1e-6)


def _steps_written(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def test_a_finished_run_is_not_run_again(small_selection: str, tmp_path: Path) -> None:
    first, _ = run(tmp_path / "model", small_selection)
    seen: list[StepRecord] = []
    assert train(config(tmp_path / "model", small_selection), on_step=lambda record, _: seen.append(record)) == first
    assert not seen


def test_the_locked_text_tower_never_runs(
    small_selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the text tower ran")

    monkeypatch.setattr(open_clip.CLIP, "encode_text", refuse)
    summary, log = run(tmp_path / "model", small_selection)
    assert summary.texts == "the store"
    assert len(log) == STEPS


def test_the_stores_texts_give_the_loss_of_the_towers_own(
    small_selection: str, small_export: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    _, stored = run(tmp_path / "stored", small_selection)
    model = ModelSpec(model_dir=str(tiny_clip_dir))
    summary, computed = run(tmp_path / "computed", tars=small_export, model=model)
    assert summary.texts == "one pass of the text tower"
    # Both are float16; the store's come from another batch of the tower.
    np.testing.assert_allclose(losses(stored), losses(computed), atol=2e-3)


def test_exported_tars_name_their_rows_so_the_store_serves_their_texts(
    known_store: EmbeddingStore, small_export: str, small_selection: str, tmp_path: Path
) -> None:
    summary, log = run(tmp_path / "tars", tars=small_export, store=str(known_store.path))
    assert summary.texts == "the store"
    _, selected = run(tmp_path / "selection", small_selection)
    np.testing.assert_allclose(losses(log), losses(selected), atol=1e-6)


def test_kept_activations_give_the_loss_of_the_whole_tower(small_selection: str, tmp_path: Path) -> None:
    summary, kept = run(tmp_path / "kept", small_selection, gated_blocks=1, cache_prefix=True)
    plain_summary, plain = run(tmp_path / "plain", small_selection, gated_blocks=1, cache_prefix=False)
    assert summary.images == "cached activations of the first 1 blocks"
    assert plain_summary.images == "pixels"
    np.testing.assert_allclose(losses(kept), losses(plain), atol=2e-3)  # kept in float16


def test_a_locked_image_tower_takes_the_stores_embeddings(small_selection: str, tmp_path: Path) -> None:
    summary, stored = run(tmp_path / "stored", small_selection, strategy="locked-image")
    assert summary.images == "the store's image embeddings"
    _, augmented = run(tmp_path / "augmented", small_selection, strategy="locked-image", augment="released", loaders=0)
    assert losses(stored) != losses(augmented)


@pytest.mark.parametrize("strategy", ["locked-text-gated-image", "full"])
def test_accumulated_parts_give_the_whole_batchs_curve(strategy: str, small_selection: str, tmp_path: Path) -> None:
    _, whole = run(tmp_path / "whole", small_selection, strategy=strategy)
    _, parts = run(tmp_path / "parts", small_selection, strategy=strategy, accumulate=4)
    np.testing.assert_allclose(losses(parts), losses(whole), atol=1e-5)


def test_gradient_checkpointing_and_loading_processes_do_not_change_the_curve(
    small_selection: str, tmp_path: Path
) -> None:
    _, plain = run(tmp_path / "plain", small_selection, augment="released", loaders=0)
    _, other = run(tmp_path / "other", small_selection, augment="released", loaders=2, grad_checkpoint=True)
    np.testing.assert_allclose(losses(other), losses(plain), atol=1e-6)


def test_bf16_and_the_moving_average_work(small_selection: str, tmp_path: Path) -> None:
    _, log = run(tmp_path / "model", small_selection, precision="bf16", ema=0.5)
    assert all(np.isfinite(losses(log)))
    _, exact = run(tmp_path / "exact", small_selection, ema=0.5)
    np.testing.assert_allclose(losses(log), losses(exact), atol=0.05)


def test_tensorboard_files_are_written_where_a_writer_is_installed(small_selection: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run(tmp_path / "model", small_selection)
    assert list((tmp_path / "model" / "tensorboard").glob("events*"))


# Bad input: one clear line each.


def test_an_empty_selection(known_store: EmbeddingStore, tmp_path: Path) -> None:
    empty = write_test_selection(known_store, tmp_path / "empty", {"unicorn": []})
    with pytest.raises(BadInput, match="selected no rows, so there is nothing to learn from"):
        train(config(tmp_path / "model", empty))


def test_a_selection_from_a_store_of_another_model(small_selection: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_tiny_clip(other, seed=1)
    with pytest.raises(ModelMismatch, match=r"was made with .* not with .*; or export the selection"):
        train(config(tmp_path / "model", small_selection, model=ModelSpec(model_dir=str(other))))


def test_captions_all_equal(known_store: EmbeddingStore, tmp_path: Path) -> None:
    captions = known_store.metadata(range(known_store.rows), ["caption"])["caption"].to_pylist()
    same = [row for row, caption in enumerate(captions) if caption == captions[0]]
    assert len(same) > 1
    selection = _with_keys(known_store, tmp_path / "selection", same)
    with pytest.raises(BadInput, match="captions are equal"):
        train(config(tmp_path / "model", selection, batch_size=2))


def _with_keys(store: EmbeddingStore, folder: Path, rows: list[int]) -> str:
    return write_test_selection(store, folder, {"shape": rows})


def test_a_batch_of_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--batch-size 1: a contrastive loss compares the pairs of a batch"):
        config(tmp_path, "selection", batch_size=1)


def test_a_batch_larger_than_the_data(small_selection: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--batch-size 64: is more than the 33 pairs there are"):
        train(config(tmp_path / "model", small_selection, batch_size=64))


def test_a_loss_that_is_no_number_stops_names_the_keys_and_keeps_the_last_good_checkpoint(
    small_selection: str, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    with pytest.raises(
        ClipmineError, match=r"step \d+: the loss is not finite, at the batch with keys 0000"
    ) as caught:
        run(out, small_selection, strategy="locked-text", lr=1e38, save_every=1, warmup=0)
    checkpoint = last_checkpoint(str(out / "checkpoints"))
    assert checkpoint is None or checkpoint.path in str(caught.value)
    assert not (out / "open_clip_config.json").exists()
    assert caught.value.exit_code == 1


def test_another_run_in_the_same_folder(small_selection: str, tmp_path: Path) -> None:
    run(tmp_path / "model", small_selection)
    with pytest.raises(OutputExists, match="another configuration \\(other lr\\)"):
        run(tmp_path / "model", small_selection, lr=2e-3)


def test_a_checkpoint_of_another_run(small_selection: str, tmp_path: Path) -> None:
    run(tmp_path / "one", small_selection)
    run(tmp_path / "two", small_selection, seed=1)
    (tmp_path / "two" / "manifest.json").unlink()
    (tmp_path / "two" / "checkpoints" / "00000006.safetensors").unlink()
    (tmp_path / "one" / "checkpoints" / "00000006.safetensors").rename(
        tmp_path / "two" / "checkpoints" / "00000003.safetensors"
    )
    with pytest.raises(BadInput, match="is the checkpoint of another run"):
        run(tmp_path / "two", small_selection, seed=1)


def test_a_strategy_that_there_is_not(small_selection: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown strategy 'frozen': choose none, locked-image"):
        train(config(tmp_path / "model", small_selection, strategy="frozen"))


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


def test_images_that_are_gone(small_export: str, tiny_clip_dir: Path, tmp_path: Path) -> None:
    tars = tmp_path / "tars"
    shutil.copytree(small_export, tars)
    model = ModelSpec(model_dir=str(tiny_clip_dir))

    def remove(record: StepRecord, _: int) -> None:
        for tar in tars.glob("*.tar"):
            tar.unlink()

    with pytest.raises(ImagesNotLocal, match="is gone; put the corpus back"):
        train(config(tmp_path / "model", tars=str(tars), model=model, steps=40), on_step=remove)


def test_an_image_that_cannot_be_decoded_gives_its_place_to_the_next(tiny_clip_dir: Path, tmp_path: Path) -> None:
    from tests.index.corpora import picture

    members: list[tuple[str, bytes]] = []
    for number in range(6):
        image = b"\xff\xd8\xff broken" if number == 2 else picture((40 * number, 10, 200))
        members += [(f"{number}.png", image), (f"{number}.txt", f"color {number}".encode())]
    write_tar(tmp_path / "00000.tar", members)
    choices = {"tars": str(tmp_path / "00000.tar"), "model": ModelSpec(model_dir=str(tiny_clip_dir)), "batch_size": 6}
    _, log = run(tmp_path / "model", None, **choices)
    assert all(np.isfinite(losses(log)))


def test_neither_selection_nor_tars(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="customize on what"):
        CustomizeConfig(out=str(tmp_path))


def test_the_log_of_a_killed_run_loses_the_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"step": 1, "loss": 2.0, "accuracy": 0.5, "lr": 0.1, "logit_scale": 14.0, "gates": {}}\n{"step": 2, "lo'
    )
    assert [record.step for record in read_log(str(path))] == [1]
