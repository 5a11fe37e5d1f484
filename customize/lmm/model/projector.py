"""The projector between vision tower and language model, and the files that hold one.

LLaVA-1.5's is Linear, GELU, Linear (`mlp2x_gelu`), LLaVA's is one Linear. transformers' `LlavaMultiModalProjector`
always has two linears with an activation between. A linear projector is one whose activation is `linear` (none) and
whose second linear is the identity, which is never trained; so plain transformers computes the same.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from index.errors import BadInput
from index.files import local_path

__all__ = ["ProjectorWeights", "is_linear", "load_projector", "new_projector", "read_projector", "select_projector"]

Kind = Literal["mlp2x_gelu", "linear"]

# LLaVA names its sequence 0 (Linear), 1 (GELU), 2 (Linear), and a single Linear not at all.
_NAME = re.compile(r"(?:^|\.)(?:mm_projector|multi_modal_projector)\.(?:(0|2|linear_1|linear_2)\.)?(weight|bias)$")
_LINEARS = {"0": "linear_1", "2": "linear_2", None: "linear_1", "linear_1": "linear_1", "linear_2": "linear_2"}


@dataclass(frozen=True)
class ProjectorWeights:
    """A projector's weights by transformers' names (`linear_1.weight`, ...). A linear one has only `linear_1`."""

    kind: Kind
    weights: Mapping[str, torch.Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        """Width of the vision tower's features, width of the language model."""
        width, features = self.weights["linear_1.weight"].shape
        return int(features), int(width)


def read_projector(path: str) -> ProjectorWeights:
    """A projector from a file: `.safetensors`, or pickled as LLaVA's `mm_projector.bin` (opened with weights_only).

    Raises:
        BadInput: there is no such file, it is no file of tensors, or they are no projector.
    """
    file = local_path(path)
    if not file.is_file():
        raise BadInput(f"{path}: there is no such file; a projector is a file such as mm_projector.bin")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors = load_file(file)
        else:
            with warnings.catch_warnings():  # of files that torch did not write, which fail below
                warnings.simplefilter("ignore")
                tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of unpickling: any exception
        raise BadInput(f"{path}: is no file of weights alone ({type(error).__name__})") from error
    if not isinstance(tensors, Mapping):
        raise BadInput(f"{path}: holds no named tensors")
    return select_projector(tensors, path)


def select_projector(tensors: Mapping[str, Any], where: str) -> ProjectorWeights:
    """The projector among named tensors; BadInput where there is none or its shapes do not fit each other."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        # Files of the projector alone may leave its own name out.
        match = _NAME.search(name) or _NAME.search(f"mm_projector.{name}")
        if match is None or not isinstance(tensor, torch.Tensor):
            if "mm_projector" in name:
                raise BadInput(f"{where}: has the weight {name}; only linear and mlp2x_gelu projectors can be loaded")
            continue
        found[f"{_LINEARS[match[1]]}.{match[2]}"] = tensor
    first, second = found.get("linear_1.weight"), found.get("linear_2.weight")
    if first is None or first.ndim != 2:
        raise BadInput(f"{where}: holds no projector (weights such as model.mm_projector.0.weight)")
    width = len(first)
    if second is not None and second.shape != (width, width):
        raise BadInput(f"{where}: the projector's second layer is {list(second.shape)}, not {[width, width]}")
    if any(tensor.shape != (width,) for name, tensor in found.items() if name.endswith("bias")):
        raise BadInput(f"{where}: the projector's biases do not fit its width of {width}")
    if second is None:
        return ProjectorWeights("linear", {name: found[name] for name in sorted(found) if name.startswith("linear_1")})
    return ProjectorWeights("mlp2x_gelu", found)


def is_linear(config: Any) -> bool:
    """Whether a `LlavaConfig` has a linear projector."""
    return str(config.projector_hidden_act) == "linear"


def new_projector(config: Any, seed: int) -> nn.Module:
    """A random projector for a `LlavaConfig`, float32, with torch's initialization of linears, as in LLaVA."""
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector: nn.Module = LlavaMultiModalProjector(config)
    if is_linear(config):
        _set_identity(projector)
    return projector


def load_projector(projector: Any, config: Any, given: ProjectorWeights, where: str) -> None:
    """Copy a file's weights into a model's projector.

    Raises:
        BadInput: it is of another kind or of other widths than the model.
    """
    kind = "linear" if is_linear(config) else "mlp2x_gelu"
    if given.kind != kind:
        raise BadInput(f"{where}: is a projector of kind {given.kind}, and the model has one of kind {kind}")
    width, features = projector.linear_1.weight.shape
    if given.shape != (features, width):
        raise BadInput(
            f"{where}: projects features of width {given.shape[0]} to {given.shape[1]}; this vision tower and language "
            f"model need {features} to {width}"
        )
    own = projector.state_dict()
    for name, tensor in given.weights.items():
        if name not in own:
            raise BadInput(f"{where}: has {name}, which the model's projector does not have")
        own[name].copy_(tensor)
    missing = [name for name in own if name not in given.weights and not (kind == "linear" and "linear_2" in name)]
    if missing:
        raise BadInput(f"{where}: has no {', '.join(missing)}")


def _set_identity(projector: Any) -> None:
    with torch.no_grad():
        nn.init.eye_(projector.linear_2.weight)
        if projector.linear_2.bias is not None:
            projector.linear_2.bias.zero_()
