"""Sizes of models, read without weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.lmm.model.load import load_lmm
from customize.lmm.model.shape import read_shape
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained, count_parameters
from index.errors import BadInput


def source_of(checkpoints: Path, name: str) -> LmmSource:
    if name == "halves":
        return LmmSource(vision_tower=str(checkpoints / "clip"), language_model=str(checkpoints / "llama"))
    return LmmSource(model=str(checkpoints / name))


@pytest.mark.parametrize("name", ["llava", "original", "halves"])
def test_sizes_are_those_of_the_loaded_model(checkpoints: Path, name: str) -> None:
    source = source_of(checkpoints, name)
    shape, lmm = read_shape(source), load_lmm(source)
    added = 0 if name == "llava" else 2 * 2 * 32  # rows of <image> and <pad>, which only loading adds
    assert shape.tower + shape.projector + shape.language_model + added == count_parameters(lmm.model).total
    assert (shape.image_tokens, shape.tower_tokens, shape.tower_width) == (lmm.image_tokens, 5, 32)
    assert (shape.layers, shape.hidden, shape.intermediate, shape.key_value_share) == (2, 32, 64, 1.0)
    apply_trained(lmm, TrainedParts("lora", lora_r=4, lora_alpha=4, precision="float32"))
    assert count_parameters(lmm.model).language_model == 4 * shape.lora_widths


def test_a_language_model_that_is_none_is_one_line(checkpoints: Path) -> None:
    clip = str(checkpoints / "clip")
    with pytest.raises(BadInput, match="which is no language model"):
        read_shape(LmmSource(vision_tower=clip, language_model=clip))
