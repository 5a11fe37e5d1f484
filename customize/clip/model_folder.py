"""Loads models and saves customized ones as folders in open_clip's `local-dir:` form, which the Hugging Face Hub takes.

    OUT/
      open_clip_config.json        architecture and preprocessing, and the positions of gated blocks
      open_clip_model.safetensors  all weights, frozen ones included
      tokenizer.json, ...          where the base model's folder has them
      customize.json               base model, strategy, trained parameters, gates, and the values of the card
      README.md                    the model card

Plain open_clip loads a folder without gated blocks (`local-dir:OUT`, or `hf-hub:` after an upload). A folder with gated
blocks is loaded by `load_customized` and by all commands of clipmine that take `--model-dir`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import torch

from customize.clip.gated import EXTENSION, describe_extension, extend_model, gate_values
from customize.clip.model_card import model_card
from customize.clip.strategies import check_strategy, describe_applied
from customize.clip.towers import image_tower, text_tower
from index.encoder.loading import model_config, open_encoder, usable_device
from index.encoder.model_spec import CONFIG_NAME, ModelSpec, tokenizer_files
from index.files import atomic_file, write_atomic

__all__ = ["LoadedModel", "load_base", "load_customized", "save_customized"]

_CUSTOMIZE_NAME = "customize.json"
_WEIGHTS_NAME = "open_clip_model.safetensors"
_FORMAT = "clipmine-customized"


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model with its preprocessing and its tokenizer.

    Attributes:
        model: open_clip's `CLIP` or `CustomTextCLIP`, float32, in eval mode; each call loads a new copy.
        preprocess: PIL image -> float32 [3, height, width], open_clip's validation transform.
        tokenizer: open_clip's: list of texts -> int64 [n, context_length].
        fingerprint: identity of architecture, weights and preprocessing, to compare with a store's
            (`index.encoder.model_spec.check_same_model`).
    """

    model: Any
    preprocess: Callable[[Any], torch.Tensor]
    tokenizer: Callable[[Any], torch.Tensor]
    fingerprint: Mapping[str, Any]


def load_base(spec: ModelSpec, device: str | None = None) -> LoadedModel:
    """Load the model to customize; all its parameters need gradients.

    Raises:
        BadInput: no such model, tag or folder, or weights that do not fit the architecture.
        ClipmineError: the weights could not be downloaded.
    """
    loaded = _load(spec, device)
    loaded.model.requires_grad_(True)
    return loaded


def load_customized(folder: str | Path, device: str | None = None) -> LoadedModel:
    """Load any model folder, customized or not, with or without gated blocks; no parameter needs gradients.

    Raises:
        BadInput: not a model folder, or weights that do not fit the architecture.
    """
    return _load(ModelSpec(model_dir=str(folder)), device)


def save_customized(
    model: Any, folder: str | Path, base: ModelSpec, strategy: str, card: Mapping[str, Any] | None = None
) -> None:
    """Write a customized model to a local folder, over the files of an earlier save.

    Args:
        model: the open_clip model after `apply_strategy` and training, not wrapped for data parallelism.
        base: the model that it was loaded from.
        strategy: the strategy that was applied.
        card: plain values for the model card: `data` (see `model_card.describe_selection`), `training`, `results`.
    """
    out, chosen = Path(folder), check_strategy(strategy)
    applied = describe_applied(model, chosen)
    model_cfg = model_config(base)
    if "timm_model_pretrained" in model_cfg["vision_cfg"]:
        model_cfg["vision_cfg"] = {
            **model_cfg["vision_cfg"],
            "timm_model_pretrained": False,
        }  # the folder has all weights
    config: dict[str, Any] = {"model_cfg": model_cfg, "preprocess_cfg": _preprocess_cfg(model)}
    gates: dict[str, list[tuple[float, float]]] = {}
    if applied.image_gates or applied.text_gates:
        config["extension"] = describe_extension(applied.image_gates, applied.text_gates)
        for name, tower, positions in (
            ("image", image_tower, applied.image_gates),
            ("text", text_tower, applied.text_gates),
        ):
            if positions:
                gates[name] = gate_values(tower(model))
    about = {
        "format": _FORMAT,
        "version": 1,
        "base": _describe_base(base),
        "strategy": strategy,
        "image_gates": list(applied.image_gates),
        "text_gates": list(applied.text_gates),
        "gates": gates,
        "trainable": applied.trainable,
        "logit_scale": float(model.logit_scale.detach().exp().mean()),
        "card": dict(card or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    if base.model_dir is not None:
        for source in tokenizer_files(base.model_dir):
            if source.parent != out:
                shutil.copyfile(source, out / source.name)
    _save_weights(model, out / _WEIGHTS_NAME)
    write_atomic(out / _CUSTOMIZE_NAME, json.dumps(about, indent=2, sort_keys=True) + "\n")
    write_atomic(out / "README.md", model_card(about))
    write_atomic(out / CONFIG_NAME, json.dumps(config, indent=2) + "\n")  # last, since a folder without it is no model


def _load(spec: ModelSpec, device: str | None) -> LoadedModel:
    encoder = open_encoder(spec, usable_device(device), {EXTENSION: extend_model})
    return LoadedModel(encoder.model, encoder.preprocess, encoder.tokenizer, encoder.fingerprint)


def _save_weights(model: Any, path: Path) -> None:
    from safetensors.torch import save_file

    # Copies, since safetensors refuses tensors that share memory. open_clip's models share none on purpose.
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with atomic_file(path) as partial:
        save_file(weights, str(partial), metadata={"format": "pt"})


def _preprocess_cfg(model: Any) -> dict[str, Any]:
    cfg = model.visual.preprocess_cfg
    return asdict(cfg) if is_dataclass(cfg) and not isinstance(cfg, type) else dict(cfg)


def _describe_base(base: ModelSpec) -> dict[str, Any]:
    """The base model; of a folder only the name, since its path means nothing on another machine."""
    if base.model_dir is not None:
        return {"model_dir": Path(base.model_dir).name}
    named = {"name": base.name, "pretrained": base.pretrained, "random_seed": base.random_seed}
    return {name: value for name, value in named.items() if value is not None}
