"""The optimizer, whose parameter groups have learning rates of their own.

`CustomizeConfig.rates` has the peak rate of each group: "alpha" (the gates' factors), "gated" (the other weights of
gated blocks) and "base" (everything else that is trained). In each group, gains, biases, gates and the temperature have
no weight decay, as in REACT's released trainer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from customize.clip.gated import ALPHAS
from customize.clip.strategies import parameter_group
from customize.clip.train.config import CustomizeConfig

__all__ = ["build_optimizer", "rate_group", "set_rates"]


def rate_group(name: str) -> str:
    """The group of the parameter `name` in a strategy that trains gated blocks: "alpha", "gated" or "base"."""
    if parameter_group(name) not in ("gated_image", "gated_text"):
        return "base"
    return "alpha" if name.split(".")[-1] in ALPHAS else "gated"


def build_optimizer(config: CustomizeConfig, trained: Mapping[str, torch.nn.Parameter]) -> torch.optim.AdamW:
    """AdamW over the `trained` parameters, by name; each of its parameter groups has its rate group as `name`."""
    peaks = config.rates()
    members: dict[tuple[str, float], list[torch.nn.Parameter]] = {}
    for name, parameter in trained.items():
        # Without a gated strategy, the gated blocks of a customized model are part of their towers.
        group = rate_group(name) if "gated" in peaks else "base"
        decay = config.weight_decay if parameter.ndim >= 2 else 0.0
        members.setdefault((group, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "lr": peaks[group], "name": group}
            for (group, decay), parameters in members.items()
        ],
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def set_rates(optimizer: torch.optim.Optimizer, peaks: Mapping[str, float], share: float) -> dict[str, float]:
    """Set each group's rate to `share` of its peak, a share from 0 to 1; returns the rates by group."""
    rates = {}
    for group in optimizer.param_groups:
        group["lr"] = rates[group["name"]] = share * peaks[group["name"]]
    return rates
