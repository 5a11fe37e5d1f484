from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from index.encoder.clip_encoder import Encoder
from index.encoder.loading import check_model, default_device, load_encoder, usable_device
from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput, ClipmineError, ModelMismatch
from tests.index.encoder.conftest import copy_model


def test_a_model_is_loaded_once_and_again_when_its_folder_changes(tiny_clip_dir: Path, tmp_path: Path) -> None:
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    spec = ModelSpec(model_dir=str(folder))
    first = load_encoder(spec, "cpu")
    assert load_encoder(spec, "cpu") is first
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, folder / "open_clip_model.safetensors")
    assert load_encoder(spec, "cpu").fingerprint["weights"] != first.fingerprint["weights"]


def test_quick_gelu_follows_the_tag_and_enters_the_fingerprint(registry: str) -> None:
    quick = load_encoder(ModelSpec(registry, "quick"), "cpu")
    plain = load_encoder(ModelSpec(registry, "Plain-One"), "cpu")  # open_clip folds case and hyphens of tags
    kinds = {type(module).__name__ for module in quick.model.modules()}
    assert "QuickGELU" in kinds
    assert quick.fingerprint["quick_gelu"]
    assert not plain.fingerprint["quick_gelu"]
    assert quick.fingerprint["weights"] == plain.fingerprint["weights"]
    assert not np.array_equal(quick.encode_texts(["a"]), plain.encode_texts(["a"]))
    with pytest.raises(ModelMismatch, match=r"the store S was made with .* another quick_gelu"):
        check_same_model(plain.fingerprint, quick.fingerprint, "the store S")


def test_random_weights_follow_their_seed_and_leave_torchs_generator_alone(registry: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_encoder(ModelSpec(registry, random_seed=1), "cpu")
    assert torch.equal(torch.rand(1), expected)
    other = load_encoder(ModelSpec(registry, random_seed=2), "cpu")
    load_encoder.__globals__["_load"].cache_clear()
    again = load_encoder(ModelSpec(registry, random_seed=1), "cpu")
    assert again is not first
    assert again.fingerprint == first.fingerprint != other.fingerprint


def test_unknown_names_and_tags_list_what_there_is() -> None:
    with pytest.raises(BadInput, match=r"unknown model 'ViT-B32': did you mean ViT-B-32"):
        check_model(ModelSpec("ViT-B32", "openai"))
    with pytest.raises(BadInput, match=r"has no tag 'opnai': its tags are openai, laion400m_e31"):
        check_model(ModelSpec("ViT-B-32", "opnai"))
    with pytest.raises(BadInput, match="needs a tag: its tags are openai"):
        check_model(ModelSpec("ViT-B-32"))
    check_model(ModelSpec("ViT-B-32", "openai"))


def test_weights_that_cannot_be_downloaded_are_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ClipmineError, match=r"model ViT-B-32 \(openai\): could not be loaded .* --model-dir") as raised:
        load_encoder(ModelSpec("ViT-B-32", "openai"), "cpu")
    assert "\n" not in str(raised.value)


def test_a_tokenizer_that_cannot_be_downloaded_is_named(
    tiny_clip_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants
    import open_clip

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    config = json.loads((tiny_clip_dir / "open_clip_config.json").read_text())["model_cfg"]
    config["text_cfg"]["hf_tokenizer_name"] = "nobody/tokenizer-of-tests"
    (tmp_path / "tiny-with-tokenizer.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-with-tokenizer.json")
    try:
        with pytest.raises(
            ClipmineError, match=r"its tokenizer nobody/tokenizer-of-tests could not be loaded"
        ) as raised:
            load_encoder(ModelSpec("tiny-with-tokenizer", random_seed=0), "cpu")
    finally:
        del open_clip.factory._MODEL_CONFIGS["tiny-with-tokenizer"]
        open_clip.factory._MODEL_CONFIG_PATHS.pop()
    assert "weights" not in str(raised.value).partition("(random weights")[2].partition(")")[2]
    assert "\n" not in str(raised.value)
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    described = json.loads((folder / "open_clip_config.json").read_text())
    described["model_cfg"] = config
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    with pytest.raises(BadInput, match=r"m: its tokenizer cannot be read .*; put the tokenizer's files"):
        load_encoder(ModelSpec(model_dir=str(folder)), "cpu")


def test_a_folder_that_is_no_model_says_what_is_wrong(tiny_clip_dir: Path, tmp_path: Path) -> None:
    def problem(folder: Path) -> str:
        with pytest.raises(BadInput) as raised:
            load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "no such model folder" in problem(tmp_path / "nowhere")
    assert "has no open_clip_config.json" in problem(tmp_path)
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    weights = folder / "open_clip_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "text_projection"}, weights)
    assert "do not fit" in problem(folder)
    weights.write_bytes(b"junk")
    assert "do not fit" in problem(folder)
    weights.rename(folder / "open_clip_pytorch_model.bin")
    assert "pickled weights (open_clip_pytorch_model.bin)" in problem(folder)
    (folder / "open_clip_pytorch_model.bin").unlink()
    assert "has no weights" in problem(folder)
    (folder / "open_clip_config.json").write_text("{")
    assert "cannot be read as JSON" in problem(folder)
    (folder / "open_clip_config.json").write_text("{}")
    assert "has no model_cfg" in problem(folder)


def test_a_pickle_beside_safetensors_is_never_opened(tiny_clip_dir: Path, tmp_path: Path, encoder: Encoder) -> None:
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    # open_clip itself would prefer this name to safetensors of another name.
    (folder / "open_clip_model.safetensors").rename(folder / "weights.safetensors")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"would fail if it were opened")
    assert load_encoder(ModelSpec(model_dir=str(folder)), "cpu").fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", ["cudaa", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(BadInput, match=rf"device '{name}' cannot be used here \(.+\); this machine has "):
        usable_device(name)


def test_the_default_device_is_used_where_none_is_named() -> None:
    assert usable_device("cpu") == "cpu"
    assert usable_device() == default_device()
