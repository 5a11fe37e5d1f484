"""Checkpoints of a run: one safetensors file each, of which the last two are kept.

    OUT/checkpoints/00000500.safetensors    trained weights, their averages, AdamW's moments, running statistics of
                                            batch norms; in its header the run's identity and step

Frozen weights are those of the base model and are not written. Batches and augmentation follow from the step, so a run
that resumes from a checkpoint needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from index.errors import BadInput, ClipmineError
from index.files import atomic_file, join, local_path, make_folder, remove_partial

__all__ = [
    "MOMENTS",
    "Checkpoint",
    "last_checkpoint",
    "read_state",
    "restore_checkpoint",
    "save_state",
    "state_tensors",
    "step_device",
    "write_checkpoint",
]

KEPT = 2  # checkpoints
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, written after `step` steps."""

    path: str
    step: int


def last_checkpoint(folder: str) -> Checkpoint | None:
    """The latest checkpoint in `folder`; None when there is none."""
    files = sorted(each for each in local_path(folder).glob("*.safetensors") if each.stem.isdecimal())
    return Checkpoint(str(files[-1]), int(files[-1].stem)) if files else None


def write_checkpoint(
    folder: str,
    step: int,
    identity: str,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    averages: Mapping[str, torch.Tensor],
    watch: Mapping[str, float],
    buffers: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> Checkpoint | None:
    """Write the state after `step` steps and delete older checkpoints, except the one before.

    Returns None and writes nothing when a value is not finite.

    Args:
        identity: hash of all that decides the trained weights, see `CustomizeConfig.identity`.
        averages: exponential moving averages by name; empty without them.
        watch: state of the `CollapseWatch`.
        buffers: what training changes beside the weights, by name: running statistics of batch norms.
    """
    tensors = state_tensors(trained, optimizer)
    tensors |= {f"average.{name}": tensor for name, tensor in averages.items()}
    tensors |= {f"buffer.{name}": tensor for name, tensor in buffers.items()}
    return save_state(folder, step, tensors, {"identity": identity, "watch": dict(watch)})


def state_tensors(
    trained: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The trained weights and AdamW's moments, by the names that a checkpoint has for them."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trained.items():
        tensors[f"weight.{name}"] = parameter.detach()
        for moment in MOMENTS:
            state = optimizer.state.get(parameter)
            if state:
                tensors[f"{moment}.{name}"] = state[moment]
    return tensors


def save_state(
    folder: str, step: int, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]
) -> Checkpoint | None:
    """Write the checkpoint of `step` with `about` (JSON data) in its header; older ones are deleted but the one before.

    Returns None and writes nothing when a value is not finite.
    """
    from safetensors.torch import save_file

    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        return None
    make_folder(folder)
    remove_partial(folder)
    path = join(folder, f"{step:08d}.safetensors")
    with atomic_file(path) as partial:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            str(partial),
            metadata={"clipmine": json.dumps({"step": step, **about})},
        )
    for old in sorted(local_path(folder).glob("*.safetensors"))[:-KEPT]:
        old.unlink()
    return Checkpoint(path, step)


def restore_checkpoint(
    checkpoint: Checkpoint,
    identity: str,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    averages: Mapping[str, torch.Tensor],
    buffers: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> dict[str, Any]:
    """Load a checkpoint into the weights, the optimizer, the averages and the buffers.

    Returns the state of the `CollapseWatch`.

    Raises:
        BadInput: the checkpoint is one of another run.
        ClipmineError: the file is damaged.
    """
    about, tensors = read_state(checkpoint, identity, trained)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"weight.{name}"])
            if f"exp_avg.{name}" in tensors:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(about["step"]), device=step_device(optimizer, parameter)),
                    **{moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS},
                }
        for name, tensor in averages.items():
            tensor.copy_(tensors[f"average.{name}"])
        for name, tensor in buffers.items():
            if f"buffer.{name}" in tensors:  # earlier versions wrote none
                tensor.copy_(tensors[f"buffer.{name}"])
    watch: dict[str, Any] = about["watch"]
    return watch


def step_device(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> torch.device:
    """Where AdamW keeps its count of steps (`torch.optim.adam.Adam._init_group`): beside the weights if it is fused."""
    fused = bool(optimizer.param_groups[0].get("fused"))
    return parameter.device if fused else torch.device("cpu")


def read_state(
    checkpoint: Checkpoint, identity: str, trained: Iterable[str]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a checkpoint says of itself, and its tensors. trained: the names of the weights that it must hold.

    Raises:
        BadInput: the checkpoint is one of another run.
        ClipmineError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint.path, "pt") as stored:
            about = json.loads((stored.metadata() or {}).get("clipmine", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ClipmineError(
            f"{checkpoint.path}: is damaged ({error}); delete it to resume from the one before"
        ) from error
    expected = {f"weight.{name}" for name in trained}
    found = {name for name in tensors if name.startswith("weight.")}
    if about.get("identity") != identity or expected != found:
        raise BadInput(
            f"{checkpoint.path}: is the checkpoint of another run (other data, model or settings); delete its folder, "
            "or choose another --out"
        )
    return about, tensors
