"""A store tells the model that it was made with, by how the user named it or by its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, StoreInvalid
from index.store.store_manifest import Manifest, write_manifest
from index.store.store_model import HINT_NAME, known_model, remember_model, store_model


def write_store(folder: Path, model: dict[str, Any], config: dict[str, Any] | None = None) -> None:
    write_manifest(str(folder), Manifest("embedded", 4, "float16", True, model, None, (), config=config or {}))


@pytest.mark.parametrize("spec", [ModelSpec("ViT-B-32", "openai", precision="bf16"), ModelSpec(model_dir="/models/a")])
def test_a_remembered_model_is_known_again(tmp_path: Path, spec: ModelSpec) -> None:
    assert known_model(tmp_path) is None
    remember_model(tmp_path, spec)
    assert known_model(tmp_path) == spec
    remember_model(tmp_path, ModelSpec("ViT-L-14", "openai"))
    assert known_model(tmp_path) == ModelSpec("ViT-L-14", "openai")


def test_the_remembered_name_comes_before_the_manifest(tmp_path: Path) -> None:
    write_store(tmp_path, {"name": "ViT-B-32", "pretrained": "openai"})
    assert store_model(tmp_path) == ModelSpec("ViT-B-32", "openai")
    remember_model(tmp_path, ModelSpec(model_dir="/models/a"))
    assert store_model(tmp_path) == ModelSpec(model_dir="/models/a")


def test_the_manifest_tells_precision_and_the_seed_of_random_weights(tmp_path: Path) -> None:
    write_store(tmp_path, {"name": "ViT-B-32", "pretrained": "random-7"}, {"model": {"precision": "bf16"}})
    assert store_model(tmp_path) == ModelSpec("ViT-B-32", random_seed=7, precision="bf16")


def test_a_store_that_does_not_name_its_model_says_how_to(tmp_path: Path) -> None:
    write_store(tmp_path, {"name": "unknown"})
    with pytest.raises(BadInput, match="--model-dir"):
        store_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"colour": "red"}'])
def test_a_damaged_hint_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / HINT_NAME).write_text(text)
    with pytest.raises(BadInput, match=r"model\.json: is damaged"):
        known_model(tmp_path)


def test_there_is_no_model_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        store_model(tmp_path / "nowhere")
