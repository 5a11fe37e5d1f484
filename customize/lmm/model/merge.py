"""A model's weights under the names of plain transformers, with an adapter merged into them or left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from customize.lmm.model.adapter import is_adapted
from index.errors import BadInput

__all__ = ["plain_state"]

_ADAPTER = "default"  # peft's name of the only adapter
_PREFIX = "base_model.model."


def plain_state(model: Any, state: Mapping[str, torch.Tensor] | None = None, *, merge: bool) -> dict[str, torch.Tensor]:
    """The weights of the `LlavaForConditionalGeneration` that a model with an adapter stands for, by its own names.

    W + alpha / r * B A is computed in float32 and rounded to W's dtype. A model without an adapter keeps its weights.

    Args:
        state: the model's `state_dict`, where its own tensors are sharded.
        merge: with the adapter's changes; else the weights that it was made on.

    Raises:
        BadInput: the adapter is of a variant that is more than B A, such as DoRA.
    """
    weights = dict(model.state_dict() if state is None else state)
    if not is_adapted(model):
        return weights
    _check_plain_lora(model.peft_config[_ADAPTER])
    scales = {name: module.scaling[_ADAPTER] for name, module in model.named_modules() if hasattr(module, "lora_A")}
    plain: dict[str, torch.Tensor] = {}
    dropped = ".original_module." if merge else f".modules_to_save.{_ADAPTER}."
    kept = f".modules_to_save.{_ADAPTER}." if merge else ".original_module."
    for name, weight in weights.items():
        if ".lora_" in name or dropped in name:
            continue
        module, layer, rest = name.partition(".base_layer.")
        if layer:
            if merge and rest == "weight":
                up, down = (weights[f"{module}.lora_{each}.{_ADAPTER}.weight"] for each in "BA")
                weight = _merged(weight, up, down, scales[module])
            name = f"{module}.{rest}"
        plain[name.replace(kept, ".").removeprefix(_PREFIX)] = weight
    return plain


def _merged(weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor, scale: float) -> torch.Tensor:
    return (weight.float() + scale * (up.float() @ down.float())).to(weight.dtype)


def _check_plain_lora(config: Any) -> None:
    if config.use_dora or config.bias != "none" or getattr(config, "lora_bias", False):
        raise BadInput("the adapter is a variant of LoRA (DoRA, or with biases): merge it with peft's merge_and_unload")
