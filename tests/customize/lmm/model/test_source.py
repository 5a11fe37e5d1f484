"""Which combinations of parts make a model, and what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from customize.lmm.model.source import LmmSource, checkpoint_layout, local_checkpoint, read_json
from index.errors import BadInput


def write_config(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_model_is_a_checkpoint_or_two_halves() -> None:
    LmmSource(model="a")
    LmmSource(vision_tower="a", language_model="b")
    with pytest.raises(BadInput, match="not both"):
        LmmSource(model="a", vision_tower="b")
    with pytest.raises(BadInput, match="both --vision-tower and --language-model"):
        LmmSource(vision_tower="b")
    with pytest.raises(BadInput, match="choose mlp2x_gelu or linear"):
        LmmSource(model="a", projector_kind="mlp")  # type: ignore[arg-type]


def test_the_layouts_are_told_apart_by_the_configuration(tmp_path: Path) -> None:
    assert checkpoint_layout(write_config(tmp_path, model_type="llava", vision_config={})) == "llava"
    assert checkpoint_layout(write_config(tmp_path, model_type="llava", mm_vision_tower="x")) == "original"
    assert checkpoint_layout(write_config(tmp_path, model_type="llava_llama", mm_vision_tower="x")) == "original"


def test_a_model_of_another_kind_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="LLaVA-NeXT"):
        checkpoint_layout(write_config(tmp_path, model_type="llava_next"))
    with pytest.raises(BadInput, match="LLaVA-NeXT"):
        checkpoint_layout(write_config(tmp_path, model_type="llava", mm_vision_tower="x", image_aspect_ratio="anyres"))
    with pytest.raises(BadInput, match="'mistral'"):
        checkpoint_layout(write_config(tmp_path, model_type="mistral", mm_vision_tower="x"))
    with pytest.raises(BadInput, match="give it as language_model"):
        checkpoint_layout(write_config(tmp_path, model_type="llama", vocab_size=3))


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no config\.json"):
        checkpoint_layout(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(BadInput, match="cannot be read as JSON"):
        checkpoint_layout(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(BadInput, match="holds no JSON object"):
        read_json(tmp_path / "config.json")


def test_a_checkpoint_is_a_folder_or_a_hub_name(tmp_path: Path) -> None:
    assert local_checkpoint(str(tmp_path), "the model") == tmp_path
    with pytest.raises(BadInput, match="there is no such folder; the vision tower is"):
        local_checkpoint(str(tmp_path / "none"), "the vision tower")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        local_checkpoint(str(tmp_path / "file"), "the model")


def test_an_adapter_in_place_of_a_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(
        BadInput, match=r"is an adapter; give it as the adapter \(--adapter\), and its base as the model"
    ):
        read_json(tmp_path / "config.json")
