"""Where a run writes its model, and the projector alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from customize.lmm.model.load import load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.export import describe_run, export_paths, write_projector
from customize.lmm.train.summary import TuneSummary
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

    both = TuneConfig("out", ("pairs",), source, stage="cad", export="both")
    assert export_paths(both)["base"] == "out/adapter/base"


def test_the_card_has_the_values_that_the_run_used() -> None:
    def values(**choices: Any) -> dict[str, Any]:
        config = TuneConfig("out", ("pairs",), "llava", stage="cad", **choices)
        summary = TuneSummary("out", "cad", "lora", {}, 0, 0, 0, (), {}, 7, 128, 1, None, None, {}, "", 0, 0, 0, {})
        found: dict[str, Any] = describe_run(summary, config, (), "id")["training"]
        return found

    assert "CaD-VI" in values()["recipe"]
    assert (values()["epochs"], values()["lora_rank"]) == (1.0, 128)
    assert not {"epochs", "template"} & set(values(steps=7))
    assert not [name for name in values(train="full") if name.startswith("lora")]
    assert values(template="vicuna_v1")["template"] == "vicuna_v1"


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
