"""Projector files: LLaVA's names, transformers' names, one layer or two, and files that hold none."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from customize.lmm.model.projector import load_projector, new_projector, read_projector, select_projector
from index.errors import BadInput
from tests.customize.lmm.model.checkpoints import original_projector
from tests.mining.tiny_llava import tiny_llava


def config(kind: str = "gelu") -> Any:
    made = tiny_llava().config
    made.projector_hidden_act = kind
    return made


def test_llavas_own_file_maps_0_to_linear_1_and_2_to_linear_2(tmp_path: Path) -> None:
    weights = original_projector(32, 32)
    torch.save(weights, tmp_path / "mm_projector.bin")
    read = read_projector(str(tmp_path / "mm_projector.bin"))
    assert (read.kind, read.shape) == ("mlp2x_gelu", (32, 32))
    projector = new_projector(config(), seed=0)
    with torch.no_grad():
        load_projector(projector, config(), read, "here")
        inputs = torch.randn(5, 32)
        first = nn.functional.linear(
            inputs, weights["model.mm_projector.0.weight"], weights["model.mm_projector.0.bias"]
        )
        expected = nn.functional.linear(
            nn.functional.gelu(first), weights["model.mm_projector.2.weight"], weights["model.mm_projector.2.bias"]
        )
        torch.testing.assert_close(projector(inputs), expected)


def test_a_linear_projector_is_exactly_one_linear_layer(tmp_path: Path) -> None:
    weights = original_projector(32, 32, "linear")
    torch.save(weights, tmp_path / "mm_projector.bin")
    read = read_projector(str(tmp_path / "mm_projector.bin"))
    assert read.kind == "linear"
    projector = new_projector(config("linear"), seed=0)
    with torch.no_grad():
        load_projector(projector, config("linear"), read, "here")
        inputs = torch.randn(5, 32)
        expected = nn.functional.linear(
            inputs, weights["model.mm_projector.weight"], weights["model.mm_projector.bias"]
        )
        assert torch.equal(projector(inputs), expected)


@pytest.mark.parametrize("prefix", ["model.multi_modal_projector.", "multi_modal_projector.", "", "base.mm_projector."])
def test_safetensors_are_read_by_any_of_the_names(tmp_path: Path, prefix: str) -> None:
    source = new_projector(config(), seed=1)
    save_file(
        {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}, tmp_path / "projector.safetensors"
    )
    projector = new_projector(config(), seed=2)
    with torch.no_grad():
        load_projector(projector, config(), read_projector(str(tmp_path / "projector.safetensors")), "here")
    assert torch.equal(projector.get_parameter("linear_2.weight"), source.get_parameter("linear_2.weight"))


def test_a_new_projector_follows_from_its_seed_alone() -> None:
    first, again, other = (new_projector(config(), seed).get_parameter("linear_1.weight") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_file_with_code_in_it_is_refused_unopened(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Touch()))
    with pytest.raises(BadInput, match="is no file of weights alone"):
        read_projector(str(tmp_path / "evil.bin"))
    assert not (tmp_path / "touched").exists()


def test_files_that_hold_no_fitting_projector_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_projector(str(tmp_path / "none.bin"))
    torch.save([1], tmp_path / "list.bin")
    with pytest.raises(BadInput, match="holds no named tensors"):
        read_projector(str(tmp_path / "list.bin"))
    with pytest.raises(BadInput, match="holds no projector"):
        select_projector({"lm_head.weight": torch.zeros(2, 2), "layers.0.weight": torch.zeros(2, 2)}, "x")
    with pytest.raises(BadInput, match=r"mm_projector\.4\.weight; only linear and mlp2x_gelu"):
        select_projector(original_projector(2, 2) | {"model.mm_projector.4.weight": torch.zeros(2, 2)}, "x")
    with pytest.raises(BadInput, match=r"second layer is \[3, 3\], not \[2, 2\]"):
        select_projector(original_projector(2, 2) | {"model.mm_projector.2.weight": torch.zeros(3, 3)}, "x")
    with pytest.raises(BadInput, match="biases do not fit"):
        select_projector(original_projector(2, 2) | {"model.mm_projector.0.bias": torch.zeros(3)}, "x")


def test_a_projector_of_another_width_or_kind_names_both() -> None:
    projector = new_projector(config(), seed=0)
    with pytest.raises(BadInput, match="of width 64 to 32; this vision tower and language model need 32 to 32"):
        load_projector(projector, config(), select_projector(original_projector(64, 32), "x"), "x")
    with pytest.raises(BadInput, match=r"kind linear.*kind mlp2x_gelu"):
        load_projector(projector, config(), select_projector(original_projector(32, 32, "linear"), "x"), "x")
    partial = select_projector({k: v for k, v in original_projector(32, 32).items() if "0.bias" not in k}, "x")
    with pytest.raises(BadInput, match=r"has no linear_1\.bias"), torch.no_grad():
        load_projector(projector, config(), partial, "x")
