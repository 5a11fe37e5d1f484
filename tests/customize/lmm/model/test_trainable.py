"""What is trained, at which rates and in which dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained, count_parameters, parameter_groups
from index.errors import BadInput

LORA: dict[str, Any] = {"lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0}


def trained_names(lmm: Lmm) -> list[str]:
    return [name for name, weight in lmm.model.named_parameters() if weight.requires_grad]


def test_stage_1_trains_the_projector_alone(lmm: Lmm) -> None:
    apply_trained(lmm, TrainedParts("frozen", rate=1e-3, projector_rate=None, precision="float32"))
    assert trained_names(lmm) == [
        f"model.multi_modal_projector.linear_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")
    ]
    counts = count_parameters(lmm.model)
    assert (counts.projector, counts.language_model, counts.vision_tower) == (2 * (32 * 32 + 32), 0, 0)
    assert counts.total == sum(weight.numel() for weight in lmm.model.parameters())
    groups = parameter_groups(lmm.model, TrainedParts("frozen", rate=1e-3, projector_rate=None, weight_decay=0.1))
    assert [(g["name"], len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [
        ("projector", 2, 1e-3, 0.1),
        ("projector_norms_and_biases", 2, 1e-3, 0.0),
    ]


def test_a_linear_projector_trains_its_one_layer(checkpoints: Path) -> None:
    lmm = load_lmm(
        LmmSource(
            vision_tower=str(checkpoints / "clip"), language_model=str(checkpoints / "llama"), projector_kind="linear"
        )
    )
    apply_trained(lmm, TrainedParts("frozen", precision="float32"))
    assert trained_names(lmm) == [f"model.multi_modal_projector.linear_1.{kind}" for kind in ("weight", "bias")]


def test_lora_is_on_all_linear_layers_of_the_language_model_and_nowhere_else(lmm: Lmm) -> None:
    apply_trained(lmm, TrainedParts("lora", precision="float32", **LORA))
    names = trained_names(lmm)
    adapted = {name.split(".lora_")[0].removeprefix("base_model.model.model.") for name in names if "lora_" in name}
    linear = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    linear += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    assert adapted == {f"language_model.layers.{layer}.{name}" for layer in (0, 1) for name in linear}
    assert [name for name in names if "lora_" not in name] == [
        f"base_model.model.model.multi_modal_projector.modules_to_save.default.linear_{n}.{kind}"
        for n in (1, 2)
        for kind in ("weight", "bias")
    ]
    counts = count_parameters(lmm.model)
    attention, mlp = 4 * 2 * (32 + 32), 3 * 2 * (32 + 64)  # rank 2
    assert counts.language_model == 2 * (attention + mlp)
    assert counts.trained == counts.language_model + 2 * (32 * 32 + 32)


def test_the_projector_has_its_own_rate_beside_lora(lmm: Lmm) -> None:
    parts = TrainedParts("lora", rate=2e-4, projector_rate=2e-5, precision="float32", **LORA)
    apply_trained(lmm, parts)
    rates = {group["name"]: group["lr"] for group in parameter_groups(lmm.model, parts)}
    assert rates == {"language_model": 2e-4, "projector": 2e-5, "projector_norms_and_biases": 2e-5}


def test_full_training_leaves_the_tower_frozen_and_norms_without_decay(lmm: Lmm) -> None:
    parts = TrainedParts("full", rate=2e-5, projector_rate=None, weight_decay=0.1, precision="float32")
    apply_trained(lmm, parts)
    assert not any("vision_tower" in name for name in trained_names(lmm))
    assert "lm_head.weight" in trained_names(lmm)
    groups = {group["name"]: group for group in parameter_groups(lmm.model, parts)}
    assert len(groups["language_model_norms_and_biases"]["params"]) == 5  # two norms a layer, and the last
    assert groups["language_model_norms_and_biases"]["weight_decay"] == 0
    assert not lmm.llava.model.vision_tower.training
    assert lmm.llava.model.language_model.training


def test_a_frozen_projector_stays_frozen_beside_lora(lmm: Lmm) -> None:
    apply_trained(lmm, TrainedParts("lora", projector=False, precision="float32", **LORA))
    assert all("lora_" in name for name in trained_names(lmm))


@pytest.mark.parametrize(
    ("precision", "trained", "frozen"),
    [
        ("float32", torch.float32, torch.float32),
        ("bfloat16", torch.float32, torch.bfloat16),
        ("pure-bfloat16", torch.bfloat16, torch.bfloat16),
    ],
)
def test_the_precision_decides_the_dtypes(lmm: Lmm, precision: Any, trained: torch.dtype, frozen: torch.dtype) -> None:
    apply_trained(lmm, TrainedParts("lora", precision=precision, **LORA))
    dtypes = {(weight.requires_grad, weight.dtype) for weight in lmm.model.parameters()}
    assert dtypes == {(True, trained), (False, frozen)}


def test_lora_starts_as_the_model_itself_and_follows_from_its_seed(lmm: Lmm, checkpoints: Path) -> None:
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.inference_mode():
        before = lmm.model(input_ids=ids).logits
    others = [load_lmm(LmmSource(model=str(checkpoints / "llava"))) for _ in range(2)]
    for each, seed in zip([lmm, *others], (0, 0, 1), strict=True):
        apply_trained(each, TrainedParts("lora", precision="float32", **LORA), seed=seed)
    with torch.inference_mode():
        assert torch.equal(lmm.model.eval()(input_ids=ids).logits, before)
    first, again, other = (
        next(weight for name, weight in each.model.named_parameters() if "lora_A" in name) for each in [lmm, *others]
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradient_checkpointing_changes_no_gradient(checkpoints: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        lmm = load_lmm(LmmSource(model=str(checkpoints / "llava")))
        parts = TrainedParts("lora", precision="float32", gradient_checkpointing=checkpointing, **LORA)
        apply_trained(lmm, parts)
        assert lmm.llava.model.language_model.layers[0].gradient_checkpointing == checkpointing
        ids = torch.tensor([[1, 5, 6, 7]])
        lmm.model(input_ids=ids, labels=ids).loss.backward()
        weights = dict(lmm.model.named_parameters())
        gradients.append([weights[name].grad for name in sorted(weights) if "lora_B" in name])
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_values_that_train_nothing_or_cannot_be_are_one_line(lmm: Lmm) -> None:
    with pytest.raises(BadInput, match="nothing would be trained"):
        TrainedParts("frozen", projector=False)
    with pytest.raises(BadInput, match="choose frozen, lora or full"):
        TrainedParts("all")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="choose float32, bfloat16, pure-bfloat16"):
        TrainedParts(precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="learning rates are above 0"):
        TrainedParts(projector_rate=0)
    with pytest.raises(BadInput, match="weight decay"):
        TrainedParts(weight_decay=float("nan"))
    with pytest.raises(BadInput, match="LoRA has a rank from 1"):
        TrainedParts(lora_r=0)
    apply_trained(lmm, TrainedParts("lora", **LORA))
    with pytest.raises(BadInput, match="merge the adapter first"):
        apply_trained(lmm, TrainedParts("full"))
    with pytest.raises(BadInput, match="has rank 2 and alpha 4, not 128 and 256"):
        apply_trained(lmm, TrainedParts("lora"))
