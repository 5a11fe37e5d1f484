"""Weights that were trained further replace the shipped ones, with a note of their training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from index.errors import BadInput
from scenes.training.llava_continued import continue_with, main
from scenes.training.train_llava import OUT


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A tuned folder, in float32, and a copy of the shipped model's weights."""
    out, tuned = tmp_path / "llava", tmp_path / "tuned"
    for folder in (out, tuned):
        folder.mkdir()
    for name in ("model.safetensors", "training.json"):
        shutil.copy(OUT / name, out / name)
    weights = {name: each.float() + 1 for name, each in load_file(str(OUT / "model.safetensors")).items()}
    save_file(weights, str(tuned / "model.safetensors"))
    rows = [{"step": step, "samples": 8, "seconds": 30.0 * step} for step in (1, 2)]
    (tuned / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tuned, out


def test_the_weights_are_replaced_in_half_precision_and_the_training_is_noted(folders: tuple[Path, Path]) -> None:
    tuned, out = folders
    main([str(tuned), str(tuned), "--out", str(out)])
    new, given = load_file(str(out / "model.safetensors")), load_file(str(tuned / "model.safetensors"))
    assert all(each.dtype == torch.float16 and torch.equal(each, given[name].half()) for name, each in new.items())
    about, before = (json.loads((folder / "training.json").read_text()) for folder in (out, OUT))
    assert about["continued"] == {"steps": 4, "conversations": 32, "minutes": 2.0}
    assert {name: value for name, value in about.items() if name != "continued"} == {
        name: value for name, value in before.items() if name != "continued"
    }


def test_a_model_of_another_shape_is_refused_and_nothing_is_replaced(folders: tuple[Path, Path]) -> None:
    tuned, out = folders
    before = (out / "model.safetensors").read_bytes()
    save_file({"one": torch.zeros(2)}, str(tuned / "model.safetensors"))
    with pytest.raises(BadInput, match="other names or shapes"):
        continue_with([tuned], out)
    assert (out / "model.safetensors").read_bytes() == before
