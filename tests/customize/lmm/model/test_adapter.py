"""Where LoRA goes, and adapters that do not fit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from customize.lmm.model.adapter import check_base, is_adapted, load_adapter, lora_targets
from customize.lmm.model.export import export_adapter
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained
from index.errors import BadInput
from tests.customize.lmm.model.test_export import inputs, logits, trained


@pytest.fixture(scope="module")
def adapter(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    export_adapter(trained(load_lmm(LmmSource(model=str(checkpoints / "llava")))), str(folder))
    return folder


def test_targets_are_the_language_models_linears_in_this_and_older_transformers(lmm: Lmm) -> None:
    pattern = lora_targets(lmm.model)
    for name, module in lmm.model.named_modules():
        wanted = isinstance(module, torch.nn.Linear) and name.startswith("model.language_model.")
        assert bool(re.fullmatch(pattern, name)) == wanted, name
    assert re.fullmatch(pattern, "language_model.model.layers.3.mlp.up_proj")
    assert not re.fullmatch(pattern, "language_model.lm_head")


def test_a_language_model_without_linear_layers_is_one_line(lmm: Lmm) -> None:
    lmm.model.model.language_model = torch.nn.Identity()
    with pytest.raises(BadInput, match="train it in full"):
        lora_targets(lmm.model)


def test_a_loaded_adapter_goes_on_training(adapter: Path, checkpoints: Path) -> None:
    lmm = load_lmm(LmmSource(model=str(checkpoints / "llava"), adapter=str(adapter)))
    assert is_adapted(lmm.model)
    assert not any(weight.requires_grad for weight in lmm.model.parameters())
    assert lmm.source["names"]["adapter"] == {"name": "adapter"}
    expected = logits(lmm, inputs(lmm))
    apply_trained(lmm, TrainedParts("lora", precision="float32", lora_r=2, lora_alpha=4, lora_dropout=0.0))
    assert sum(weight.requires_grad for weight in lmm.model.parameters()) == 2 * 2 * 7 + 4
    lmm.model.eval()
    assert torch.equal(logits(lmm, inputs(lmm)), expected)


def changed(adapter: Path, tmp_path: Path, config: dict[str, Any] | None = None, weights: Any = None) -> str:
    """A copy of the adapter, as from somebody else (without our provenance), with its files changed."""
    shutil.copytree(adapter, tmp_path / "adapter")
    (tmp_path / "adapter" / "clipmine.json").unlink()
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | (config or {})))
    if weights is not None:
        tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        save_file(weights(tensors), tmp_path / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})
    return str(tmp_path / "adapter")


def load(folder: str, checkpoints: Path) -> Lmm:
    return load_lmm(LmmSource(model=str(checkpoints / "llava"), adapter=folder))


def test_an_adapter_of_others_loads_where_it_fits(adapter: Path, checkpoints: Path, tmp_path: Path) -> None:
    assert is_adapted(load(changed(adapter, tmp_path), checkpoints).model)


def test_an_adapter_of_another_kind_rank_or_model_is_one_line(adapter: Path, checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="of the kind 'IA3'; only LoRA"):
        load(changed(adapter, tmp_path / "1", {"peft_type": "IA3"}), checkpoints)
    with pytest.raises(BadInput, match=r"of another model \(.*llava\): its weights have other shapes"):
        load(changed(adapter, tmp_path / "2", {"r": 4}), checkpoints)

    def one_more(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = next(name for name in tensors if "layers.1" in name)
        return tensors | {name.replace("layers.1", "layers.7"): tensors[name].clone()}

    with pytest.raises(BadInput, match=r"its weights do not fit, such as .*layers\.7"):
        load(changed(adapter, tmp_path / "3", weights=one_more), checkpoints)

    def fewer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in tensors.items() if "layers.1" not in name}

    with pytest.raises(BadInput, match=r"its weights do not fit, such as .*layers\.1"):
        load(changed(adapter, tmp_path / "4", weights=fewer), checkpoints)


def test_provenance_that_does_not_name_a_base_is_one_line(tmp_path: Path) -> None:
    check_base(tmp_path, {})
    (tmp_path / "clipmine.json").write_text("{}")
    with pytest.raises(BadInput, match="does not say what the adapter was made on"):
        check_base(tmp_path, {})
    with pytest.raises(BadInput, match=r"has no adapter_config\.json"):
        load_adapter(None, tmp_path, {})
