"""LoRA adapters in peft's format: which modules of a model take one, and loading one from a folder.

An adapter has the projector's weights too (`modules_to_save`), since alignment of images and text is trained in both.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from customize.lmm.model.source import read_json
from index.errors import BadInput
from mining.chat.checkpoint_loading import add_adapter

__all__ = ["PROJECTOR", "PROVENANCE_NAME", "check_base", "is_adapted", "load_adapter", "lora_targets", "with_adapter"]

PROJECTOR = "multi_modal_projector"
PROVENANCE_NAME = "clipmine.json"  # beside the weights that we write
_BASE_PARTS = ("vision_tower", "language_model")


def is_adapted(model: Any) -> bool:
    """Whether a model is peft's around another one."""
    return hasattr(model, "get_base_model")


def lora_targets(llava: Any) -> str:
    """peft's `target_modules` for all linear layers of the language model: a pattern of module names.

    Not those of the vision tower and the projector, and not the output layer, as in LLaVA. The pattern fits the module
    names of older versions of transformers as well.
    """
    linear = {
        name.rpartition(".")[2]
        for name, module in llava.model.language_model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    if not linear:
        raise BadInput("the language model has no linear layers that could take LoRA; train it in full")
    return rf"(?:.*\.)?language_model\..*\.(?:{'|'.join(sorted(map(re.escape, linear)))})"


def with_adapter(model: Any, config: Any) -> Any:
    """peft's `get_peft_model`, without its warnings: of the base's name, and of names that transformers renames."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, config)


def load_adapter(model: Any, folder: Path, parts: Mapping[str, Any]) -> Any:
    """A `PeftModel` around `model` with the adapter's weights, in float32.

    Args:
        parts: hashes of the model's parts, see `load.describe_parts`.

    Raises:
        BadInput: the folder holds no LoRA adapter, or one of another model.
    """
    stated = read_json(folder / "adapter_config.json")
    if stated.get("peft_type") != "LORA":
        raise BadInput(f"{folder}: is an adapter of the kind {stated.get('peft_type')!r:.40}; only LoRA can be loaded")
    check_base(folder, parts)
    base = str(stated.get("base_model_name_or_path"))
    return add_adapter(model, folder, f"{folder}: is an adapter of another model ({base:.100})")


def check_base(folder: Path, parts: Mapping[str, Any]) -> None:
    """Raise BadInput where an adapter that we wrote was made on other weights; adapters of others do not say."""
    path = folder / PROVENANCE_NAME
    if not path.exists():
        return
    base = read_json(path).get("base")
    if not isinstance(base, Mapping):
        raise BadInput(f"{path}: does not say what the adapter was made on")
    other = [part for part in _BASE_PARTS if base.get(part) != parts[part]]
    if other:
        called = json.dumps(base.get("names", {}))[:200]
        raise BadInput(
            f"{folder}: is an adapter of another model (another {' and '.join(other)}): it was made on {called}"
        )
