"""What a run is prepared from: the inputs that are chosen for it, and bad input in one line each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from customize.clip.train.distributed import Worker
from customize.clip.train.log import StepRecord
from customize.clip.train.prepare import Run, prepare_run
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ModelMismatch, OutputExists
from index.files import hash_json
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import Selection
from tests.conftest import write_tiny_clip
from tests.customize.clip.train.runs import config, losses, run

Prepare = Callable[..., Run]


@pytest.mark.parametrize(
    ("choices", "images", "texts"),
    [
        ({"strategy": "locked-image"}, "the store's image embeddings", None),
        ({"strategy": "locked-image", "augment": "released"}, "pixels", None),
        ({"strategy": "locked-text"}, "pixels", "the store"),
        ({"strategy": "full"}, "pixels", None),
        ({"gated_blocks": 1, "cache_prefix": True}, "cached activations of the first 1 blocks", "the store"),
        ({"gated_blocks": 1, "cache_prefix": False}, "pixels", "the store"),
        ({"gated_blocks": 1, "steps": 20}, "cached activations of the first 1 blocks", "the store"),  # 4.8 epochs
        ({"gated_blocks": 1, "steps": 4}, "pixels", "the store"),  # one epoch: the cache would not pay
    ],
)
def test_inputs_are_chosen_by_what_is_frozen(
    choices: dict[str, Any], images: str, texts: str | None, prepare: Prepare
) -> None:
    run = prepare(**choices)
    assert run.images.kind == images
    assert (run.texts.source if run.texts is not None else None) == texts


def test_tars_without_a_store_have_their_texts_computed(
    small_export: str, tiny_clip_dir: Path, known_store: EmbeddingStore, tmp_path: Path
) -> None:
    model = ModelSpec(model_dir=str(tiny_clip_dir))
    alone = prepare_run(config(tmp_path / "alone", tars=small_export, model=model), Worker())
    assert alone is not None
    assert (alone.store, alone.selection) == (None, None)
    assert alone.texts is not None
    assert alone.texts.source == "one pass of the text tower"
    named = prepare_run(config(tmp_path / "named", tars=small_export, store=str(known_store.path)), Worker())
    assert named is not None
    assert named.texts is not None
    assert named.texts.source == "the store"


LONG: dict[str, Any] = {"gated_blocks": 1, "steps": 20, "save_every": 5}  # 4.8 epochs: activations are cached


def stopped(out: Path, selection: str) -> list[float]:
    """A run that stops after its tenth step; the losses until then."""
    seen: list[float] = []

    def stop(record: StepRecord, _: int) -> None:
        seen.append(record.loss)
        if record.step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(out, selection, **LONG), on_step=stop)
    return seen


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))


def test_a_run_that_continues_keeps_its_cache_on_a_full_disk(
    prepare: Prepare, small_selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tmp_path / "model", small_selection)
    fill_disk(monkeypatch)
    assert prepare(**LONG).images.kind == "cached activations of the first 1 blocks"
    assert prepare("new", **LONG).images.kind == "pixels"


def test_a_run_whose_cache_was_deleted_makes_it_again(
    prepare: Prepare, small_selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = run(tmp_path / "whole", small_selection, **LONG)
    stopped(tmp_path / "model", small_selection)
    shutil.rmtree(tmp_path / "model" / "work")
    with monkeypatch.context() as disk:
        fill_disk(disk)
        with pytest.raises(BadInput, match=r"the run's cached activations are gone, and no disk is left for their 35,"):
            prepare(**LONG)
    summary, resumed = run(tmp_path / "model", small_selection, **LONG)
    assert summary.images == "cached activations of the first 1 blocks"
    np.testing.assert_allclose(losses(resumed), losses(whole), rtol=0, atol=1e-5)


def test_the_number_format_is_of_the_identity_as_the_device_has_it(prepare: Prepare) -> None:
    chosen = prepare(precision="auto")
    assert chosen.config.precision == "fp32"
    assert prepare(precision="fp32").identity == chosen.identity  # the same run
    with pytest.raises(OutputExists, match="other precision"):
        prepare(precision="bf16")


def test_augmentation_follows_the_number_of_pairs(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(augment="auto").config.augment == "none"
    monkeypatch.setattr("customize.clip.train.augment.MILD_FROM", 33)
    assert prepare("mild", augment="auto").config.augment == "mild"
    with pytest.raises(BadInput, match="--cache-prefix: augmented images cannot be cached"):
        prepare("cached", augment="auto", cache_prefix=True, gated_blocks=1)


def test_a_run_of_an_earlier_version_continues_as_it_was_begun(prepare: Prepare, tmp_path: Path) -> None:
    """Its identity has precision "auto" as it stands, and the released augmentation was the default."""
    asked = {"precision": "auto", "augment": "auto"}
    run = prepare(**asked)
    before = run.config.as_before()
    assert before is None  # this one says what it means
    former = replace(run.config, precision="auto", augment="released")
    data = hash_json(Selection.open(str(run.config.selection)).identity)
    claim = tmp_path / "model" / "run.json"
    claim.write_text(json.dumps({"job": hash_json(former.identity(run.spec, data)), "parts": {}}))
    continued = prepare(**asked)
    assert (continued.config.augment, continued.config.precision) == ("released", "fp32")
    assert continued.identity == hash_json(former.identity(run.spec, data))
    assert prepare("new", **asked).config.augment == "none"


def test_a_finished_run_is_not_prepared_again(small_selection: str, tmp_path: Path) -> None:
    asked = config(tmp_path / "model", small_selection, steps=1)
    train(asked)
    assert prepare_run(asked, Worker()) is None


def test_the_cache_needs_frozen_blocks(prepare: Prepare) -> None:
    with pytest.raises(BadInput, match="--cache-prefix: with strategy full this model has no frozen blocks"):
        prepare(strategy="full", cache_prefix=True)


def test_a_selection_from_a_store_of_another_model(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(ModelMismatch, match=r"was made with .* not with .*; or export the selection"):
        prepare(model=ModelSpec(model_dir=str(other)))


def test_another_run_in_the_same_folder(prepare: Prepare) -> None:
    prepare(lr=1e-3)
    with pytest.raises(OutputExists, match="another configuration \\(other lr\\)"):
        prepare(lr=2e-3)


def test_more_pairs_asked_for_than_there_are_and_batches_that_cannot_be_shared(
    prepare: Prepare, small_selection: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="--batch-size 64: is more than the 33 pairs there are"):
        prepare(batch_size=64)
    with pytest.raises(BadInput, match="--batch-size 9: cannot be shared evenly among 2 workers"):
        prepare_run(config(tmp_path / "two", small_selection, batch_size=9), Worker(0, 2))


def test_an_unknown_strategy_and_an_unknown_model(prepare: Prepare, small_export: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown strategy 'frozen': choose none, locked-image"):
        prepare(strategy="frozen")
    with pytest.raises(BadInput, match="customize which model"):
        prepare_run(config(tmp_path / "model", tars=small_export), Worker())
