"""Which weights of a model are trained, at which learning rates, and in which precision.

LLaVA's choices (arXiv 2304.08485 and 2310.03744, and their scripts): stage 1 trains the projector alone; stage 2 the
language model in full or by LoRA, with the projector, which has a learning rate of its own beside LoRA. The vision
tower is always frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from customize.lmm.model.adapter import PROJECTOR, is_adapted, lora_targets, with_adapter
from customize.lmm.model.load import Lmm
from customize.lmm.model.projector import is_linear
from index.errors import BadInput

__all__ = ["ParameterCounts", "Precision", "TrainedParts", "apply_trained", "count_parameters", "parameter_groups"]

# float32: all weights and arithmetic. bfloat16: trained weights in float32, frozen ones and arithmetic in bfloat16.
# pure-bfloat16: all weights, moments and arithmetic in bfloat16.
Precision = Literal["float32", "bfloat16", "pure-bfloat16"]
_PRECISIONS = ("float32", "bfloat16", "pure-bfloat16")


@dataclass(frozen=True)
class TrainedParts:
    """What a run trains.

    Attributes:
        language_model: frozen; by LoRA on all its linear layers but the output layer; or in full.
        projector: whether the projector is trained.
        rate: learning rate of LoRA or the language model, and of the projector where it has none of its own.
        projector_rate: the projector's own learning rate.
        weight_decay: AdamW's, on matrices only: not on norms and biases.
        lora_r, lora_alpha, lora_dropout: LLaVA-1.5's by default.
        precision: see `Precision`.
        gradient_checkpointing: compute each layer's activations again in the backward pass instead of keeping them.
    """

    language_model: Literal["frozen", "lora", "full"] = "lora"
    projector: bool = True
    rate: float = 2e-4
    projector_rate: float | None = 2e-5
    weight_decay: float = 0.0
    lora_r: int = 128
    lora_alpha: float = 256
    lora_dropout: float = 0.05
    precision: Precision = "bfloat16"
    gradient_checkpointing: bool = True

    def __post_init__(self) -> None:
        if self.language_model not in ("frozen", "lora", "full"):
            raise BadInput(f"language_model {self.language_model!r:.40}: choose frozen, lora or full")
        if self.language_model == "frozen" and not self.projector:
            raise BadInput("nothing would be trained: the language model and the projector are both frozen")
        if self.precision not in _PRECISIONS:
            raise BadInput(f"precision {self.precision!r:.40}: choose {', '.join(_PRECISIONS)}")
        rates = (self.rate, self.rate if self.projector_rate is None else self.projector_rate)
        if not all(0 < rate < float("inf") for rate in rates):
            raise BadInput(f"learning rates are above 0, not {rates[0]:g} and {rates[1]:g}")
        if not 0 <= self.weight_decay < float("inf"):
            raise BadInput(f"weight decay is at least 0, not {self.weight_decay:g}")
        if self.lora_r < 1 or not 0 < self.lora_alpha < float("inf") or not 0 <= self.lora_dropout < 1:
            raise BadInput(
                f"LoRA has a rank from 1, an alpha above 0 and a dropout in [0, 1), not {self.lora_r}, "
                f"{self.lora_alpha:g} and {self.lora_dropout:g}"
            )


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of weights: all (with those of LoRA), and the trained ones of each part."""

    total: int
    vision_tower: int
    projector: int
    language_model: int

    @property
    def trained(self) -> int:
        """All trained weights."""
        return self.vision_tower + self.projector + self.language_model


def apply_trained(lmm: Lmm, parts: TrainedParts, *, seed: int = 0) -> None:
    """Freeze and unfreeze the weights of `lmm`, in the dtypes of the precision; with LoRA, wrap its model with peft.

    A model that was loaded with an adapter of the same shape goes on training that adapter. The model is in train mode
    afterwards, but for the vision tower.

    Args:
        seed: of LoRA's new matrices.

    Raises:
        BadInput: the model has an adapter of another shape, or one where `parts` trains without LoRA.
    """
    adapted = is_adapted(lmm.model)
    if adapted and parts.language_model != "lora":
        raise BadInput("the model has a LoRA adapter and is to be trained without one: merge the adapter first")
    if parts.language_model == "lora":
        if adapted:
            _check_adapter(lmm, parts)
        else:
            lmm.model = _add_lora(lmm.llava, parts, seed)
    lmm.model.requires_grad_(False)
    for name, weight in lmm.model.named_parameters():
        if "lora_" in name:
            weight.requires_grad = True
    llava = lmm.llava
    if parts.language_model == "full":
        llava.model.language_model.requires_grad_(True)
        llava.lm_head.requires_grad_(True)
    if parts.projector:
        own = _trained_projector(llava)
        (own.linear_1 if is_linear(llava.config) else own).requires_grad_(True)
    _set_dtypes(lmm.model, parts.precision)
    _set_checkpointing(llava, parts.gradient_checkpointing)
    lmm.model.train()
    llava.model.vision_tower.eval()


def parameter_groups(model: torch.nn.Module, parts: TrainedParts) -> list[dict[str, Any]]:
    """AdamW's parameter groups of the trained weights, each with `name`, `params`, `lr` and `weight_decay`.

    The groups and the order in them are the same in every process. Norms and biases have no weight decay.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        part = "projector" if PROJECTOR in name else "language_model"
        rate = parts.projector_rate if part == "projector" and parts.projector_rate is not None else parts.rate
        decays = weight.ndim >= 2
        called = part if decays else f"{part}_norms_and_biases"
        decay = parts.weight_decay if decays else 0.0
        group = groups.setdefault(called, {"name": called, "params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(weight)
    return [groups[name] for name in sorted(groups)]


def count_parameters(model: torch.nn.Module) -> ParameterCounts:
    """Count a model's weights, with those of LoRA; a projector that peft keeps a frozen copy of counts once."""
    trained = {"vision_tower": 0, PROJECTOR: 0, "language_model": 0}
    total = 0
    for name, weight in model.named_parameters():
        if "original_module" in name:
            continue
        total += weight.numel()
        if weight.requires_grad:
            part = next((part for part in trained if part in name), "language_model")
            trained[part] += weight.numel()
    return ParameterCounts(total, trained["vision_tower"], trained[PROJECTOR], trained["language_model"])


def _add_lora(llava: Any, parts: TrainedParts, seed: int) -> Any:
    from peft import LoraConfig

    config = LoraConfig(
        r=parts.lora_r,
        lora_alpha=parts.lora_alpha,  # type: ignore[arg-type]  # peft takes fractions as well
        lora_dropout=parts.lora_dropout,
        target_modules=lora_targets(llava),
        modules_to_save=[PROJECTOR],
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # On the CPU, so that every device begins with the same matrices.
        return with_adapter(llava, config)


def _check_adapter(lmm: Lmm, parts: TrainedParts) -> None:
    config = lmm.model.peft_config["default"]
    if (config.r, config.lora_alpha) != (parts.lora_r, parts.lora_alpha):
        raise BadInput(
            f"the loaded adapter has rank {config.r} and alpha {config.lora_alpha}, not {parts.lora_r} and "
            f"{parts.lora_alpha:g}: train with --lora-rank {config.r} --lora-alpha {config.lora_alpha:g}, or merge it "
            "first"
        )
    if PROJECTOR not in (config.modules_to_save or ()):
        raise BadInput("the loaded adapter does not have the projector's weights: merge it first")


def _trained_projector(llava: Any) -> Any:
    """The projector, or the copy of it that peft trains and saves."""
    projector = llava.model.multi_modal_projector
    return projector.modules_to_save["default"] if hasattr(projector, "modules_to_save") else projector


def _set_dtypes(model: torch.nn.Module, precision: Precision) -> None:
    frozen = torch.float32 if precision == "float32" else torch.bfloat16
    trained = torch.bfloat16 if precision == "pure-bfloat16" else torch.float32
    for weight in model.parameters():
        weight.data = weight.data.to(trained if weight.requires_grad else frozen)


def _set_checkpointing(llava: Any, wanted: bool) -> None:
    enable, disable = (
        (llava.activation_checkpointing_enable, llava.activation_checkpointing_disable)
        if hasattr(llava, "activation_checkpointing_enable")
        else (llava.gradient_checkpointing_enable, llava.gradient_checkpointing_disable)  # transformers before 5.2x
    )
    if wanted:
        # Re-entrant checkpoints need inputs with gradients, which a model with a frozen embedding does not have.
        enable({"use_reentrant": False})
    else:
        disable()
