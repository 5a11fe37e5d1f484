"""Loading weights with transformers: quiet, complete, and with one line where something is wrong."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from index.errors import BadInput, DiskFull
from mining.chat.checkpoint_loading import add_adapter, load_weights, loading, quiet


def llama() -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM


def test_transformers_is_quiet_meanwhile_and_as_before_afterwards(
    llama_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    level = logging.get_verbosity()
    capfd.readouterr()
    with quiet():
        llama().from_pretrained(llama_folder)
        warnings.warn("of a library", FutureWarning, stacklevel=1)
    assert "".join(capfd.readouterr()) == ""
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == (shown, level)


def test_errors_become_one_line_that_names_the_folder() -> None:
    with pytest.raises(BadInput, match=r"there: cannot be loaded: first second$"), loading(Path("there")):
        raise RuntimeError("first\n\n  second\nthird")
    with pytest.raises(BadInput, match="there: cannot be loaded: 'x'"), loading(Path("there")):
        raise KeyError("x")
    with pytest.raises(DiskFull, match="mine"), loading(Path("there")):
        raise DiskFull("mine")


def test_weights_of_other_parts_are_refused_unless_they_are_expected(llama_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(llama_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights |= {f"other.{number}": torch.zeros(1) for number in range(5)}
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)  # as transformers once stored it
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"belong to no part of the model: other\.0, other\.1, other\.2 and 2 more"):
        load_weights(llama(), tmp_path, torch.float32)
    assert load_weights(llama(), tmp_path, torch.bfloat16, ignore=r"^other\.").dtype == torch.bfloat16


def test_pickled_weights_are_refused_where_only_safetensors_are_wanted(
    llama_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    model = load_weights(llama(), llama_folder, torch.float32, only_safetensors=True)
    for folder, name in ((llama_folder, "model.safetensors"), (adapter_folder, "adapter_model.safetensors")):
        shutil.copytree(folder, tmp_path / folder.name)
        (tmp_path / folder.name / name).rename(tmp_path / folder.name / "pytorch_model.bin")
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_weights(llama(), tmp_path / llama_folder.name, torch.float32, only_safetensors=True)
    with pytest.raises(BadInput, match=r"has no adapter_model\.safetensors"):
        add_adapter(model, tmp_path / adapter_folder.name, "of another", only_safetensors=True)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("You set `ignore_mismatched_sizes` to `False`, thus raising an error.", "its weights have other shapes than"),
        (
            "Weights only load failed. Re-running `torch.load` with ...",
            "holds more than tensors; save it as safetensors",
        ),
    ],
)
def test_advice_of_other_libraries_that_is_of_no_use_here_is_put_in_other_words(said: str, meant: str) -> None:
    with pytest.raises(BadInput, match=f"a-model: cannot be loaded: .*{meant}"), loading("a-model"):
        raise RuntimeError(said)
