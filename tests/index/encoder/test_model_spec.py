from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec, check_same_model, model_identity
from index.errors import BadInput, ModelMismatch
from tests.index.encoder.conftest import copy_model


def test_one_model_has_one_fingerprint_by_name_and_as_a_folder(
    registry: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    named = load_encoder(ModelSpec(registry, "plain_one"), "cpu")
    mean, std = named.fingerprint["preprocessing"]["mean"], named.fingerprint["preprocessing"]["std"]
    folder = load_encoder(
        ModelSpec(model_dir=str(copy_model(tiny_clip_dir, tmp_path / "m", mean=mean, std=std))), "cpu"
    )
    check_same_model(named.fingerprint, folder.fingerprint, "the store")
    with pytest.raises(ModelMismatch, match="another preprocessing"):
        check_same_model(
            named.fingerprint, load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu").fingerprint, "the store"
        )
    assert json.loads(json.dumps(named.fingerprint)) == named.fingerprint


def test_specs_that_say_two_things_or_nothing_are_bad_input(tmp_path: Path) -> None:
    for wrong in ({}, {"name": "a", "model_dir": "b"}, {"name": "a", "pretrained": "b", "random_seed": 1}):
        with pytest.raises(BadInput):
            ModelSpec(**wrong)
    with pytest.raises(BadInput, match="unknown precision"):
        ModelSpec("a", "b", precision="int8")  # type: ignore[arg-type]


def test_a_folders_identity_is_its_content_and_not_its_place(tiny_clip_dir: Path, tmp_path: Path) -> None:
    here, there = (
        ModelSpec(model_dir=str(tiny_clip_dir)),
        ModelSpec(model_dir=str(copy_model(tiny_clip_dir, tmp_path / "m", size=32))),
    )
    assert model_identity(here) == model_identity(
        ModelSpec(model_dir=str(shutil.copytree(tiny_clip_dir, tmp_path / "n")))
    )
    assert model_identity(here) != model_identity(there)
    assert str(tiny_clip_dir) not in json.dumps(model_identity(here))
