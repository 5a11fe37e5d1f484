"""Checkpoints of a tuning run: the trained weights and the optimizer's moments, whole also where a run is sharded.

The file is that of `customize.clip.train.checkpoint`. A sharded weight is gathered before it is written and shared out
again when it is read, so a run may be resumed with another number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from customize.clip.train.checkpoint import MOMENTS, Checkpoint, read_state, save_state, state_tensors, step_device
from customize.clip.train.distributed import Worker

__all__ = ["restore_state", "whole_tensors", "write_state"]


def write_state(
    folder: str,
    step: int,
    about: Mapping[str, Any],
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    worker: Worker,
) -> Checkpoint | None:
    """Write the state after `step` steps; only the first worker writes, and all must call it.

    about: JSON data with the run's `identity`. Returns None on the other workers, and when a value is not finite, in
    which case nothing is written.
    """
    tensors = whole_tensors(state_tensors(trained, optimizer), worker)
    return save_state(folder, step, tensors, about) if worker.first else None


def restore_state(
    checkpoint: Checkpoint, identity: str, trained: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Load a checkpoint into the weights and the optimizer; returns what it says of itself.

    Raises:
        BadInput: the checkpoint is one of another run.
        ClipmineError: the file is damaged.
    """
    about, tensors = read_state(checkpoint, identity, trained)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(_like(parameter, tensors[f"weight.{name}"]))
            if f"{MOMENTS[0]}.{name}" in tensors:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(about["step"]), device=step_device(optimizer, parameter)),
                    **{moment: _like(parameter, tensors[f"{moment}.{name}"]).clone() for moment in MOMENTS},
                }
    return about


def whole_tensors(tensors: Mapping[str, torch.Tensor], worker: Worker) -> dict[str, torch.Tensor]:
    """Each tensor as a whole, on the first worker's CPU; {} on the others where the weights are sharded.

    A collective where they are.
    """
    whole: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not _is_sharded(tensor):
            whole[name] = tensor
            continue
        gathered = tensor.full_tensor()  # type: ignore[attr-defined]
        if worker.first:
            whole[name] = gathered.cpu()
    return whole


def _is_sharded(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def _like(parameter: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """`whole` on the parameter's device, and sharded as it is."""
    if not _is_sharded(parameter):
        return whole.to(parameter.device, parameter.dtype)
    from torch.distributed.tensor import distribute_tensor

    mesh: Any = parameter.device_mesh  # type: ignore[attr-defined]
    return distribute_tensor(whole.to(mesh.device_type), mesh, parameter.placements)  # type: ignore[attr-defined]
