"""Where a run writes its model, and the projector alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from customize.lmm.model.load import load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.export import export_paths, write_projector
from tests.customize.lmm.train.conftest import Material


@pytest.mark.parametrize(
    ("train", "export", "expected"),
    [
        ("lora", None, {"adapter": "out"}),
        ("lora", "both", {"merged": "out", "adapter": "out/adapter"}),
        ("lora", "merged", {"merged": "out"}),
        ("full", None, {"merged": "out"}),
        ("full", "projector", {}),
    ],
)
def test_the_model_is_the_runs_folder(train: str, export: str | None, expected: dict[str, str]) -> None:
    config = TuneConfig("out", ("pairs",), "llava", stage="cad", train=train, export=export)  # type: ignore[arg-type]
    assert export_paths(config) == {"projector": "out/projector/projector.safetensors", **expected}


def test_an_adapter_on_two_halves_comes_with_its_base() -> None:
    source = LmmSource(vision_tower="clip", language_model="vicuna")
    assert export_paths(TuneConfig("out", ("pairs",), source, stage="cad"))["base"] == "out/base"


def test_the_projector_is_the_trained_one(material: Material, tmp_path: Path) -> None:
    """With adapters, peft keeps the projector that was loaded beside it."""
    lmm = load_lmm(LmmSource(model=str(material.model)))
    apply_trained(lmm, TrainedParts("lora", lora_r=2, lora_alpha=4, precision="float32"))
    trained = next(p for name, p in lmm.model.named_parameters() if p.requires_grad and "linear_1.weight" in name)
    with torch.no_grad():
        trained.fill_(0.5)
    write_projector(lmm, str(tmp_path))
    found = load_file(tmp_path / "projector" / "projector.safetensors")
    assert sorted(found) == [f"multi_modal_projector.linear_{n}.{kind}" for n in (1, 2) for kind in ("bias", "weight")]
    assert bool((found["multi_modal_projector.linear_1.weight"] == 0.5).all())
