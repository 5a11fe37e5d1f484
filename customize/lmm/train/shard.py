"""Shares the weights, gradients and moments of a model out among workers (FSDP, torch's `fully_shard`).

A worker holds 1/N of each decoder layer and of the other weights, and gathers a layer while it computes it. The frozen
vision tower stays whole on each: it runs outside of the sharded module, and is small beside a language model.
"""

from __future__ import annotations

from typing import Any

import torch

from customize.lmm.model.forward import TokenLosses
from customize.lmm.model.load import bare_model
from index.errors import BadInput

__all__ = ["decoder_layers", "shard_model"]


def shard_model(losses: TokenLosses, device: str) -> None:
    """Shard `losses` over all workers, in place; call it before the optimizer is made.

    Afterwards its parameters are DTensors. All workers must run it equally often. Gradients are averaged over the
    workers, so each worker's loss is multiplied by their number where their sum is wanted.
    """
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
    llava = bare_model(losses.model)
    tower = set(llava.model.vision_tower.parameters())
    for layer in decoder_layers(llava):
        fully_shard(layer, mesh=mesh)
    fully_shard(losses, mesh=mesh, ignored_params=tower)


def decoder_layers(llava: Any) -> list[torch.nn.Module]:
    """The transformer blocks of the language model. Raises BadInput where it has no list of layers."""
    language_model = llava.model.language_model
    for module in language_model.modules():
        layers = getattr(module, "layers", None)
        if isinstance(layers, torch.nn.ModuleList) and len(layers):
            return list(layers)
    raise BadInput(f"--shard-model: {type(language_model).__name__} has no list of layers that could be shared out")
