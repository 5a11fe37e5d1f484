"""What of a loaded CLIP model decides its vectors, as hashes and plain values. Loads nothing and compares nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from index.files import hash_json

__all__ = ["describe_model"]

# Fields of open_clip's configurations that matter to training, or to how weights and tokenizers are found.
_DECIDES_NOTHING = frozenset(
    {
        "patch_dropout",
        "timm_model_pretrained",
        "timm_drop",
        "timm_drop_path",
        "hf_model_pretrained",
        "hf_tokenizer_name",
        "tokenizer_mode",
        "tokenizer_kwargs",
    }
)


def describe_model(
    model: torch.nn.Module, model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]
) -> dict[str, Any]:
    """A fingerprint's `weights`, `architecture`, `quick_gelu` and `preprocessing`, as plain JSON values."""
    return {
        "weights": _weights_sha256(model),
        "architecture": hash_json(_architecture(model_cfg)),
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "preprocessing": _plain(preprocess_cfg),
    }


def _weights_sha256(model: torch.nn.Module) -> str:
    """Of the tensors, so that one model has one hash in whatever file it comes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _architecture(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with open_clip's defaults filled in, without what only matters to training or to loading."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    plain = {name: value for name, value in model_cfg.items() if name not in ("quick_gelu", "custom_text")}
    for part, kind in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg)):
        known = {field.name: getattr(kind(), field.name) for field in fields(kind)}
        filled = known | dict(model_cfg[part])
        plain[part] = {name: value for name, value in filled.items() if name not in _DECIDES_NOTHING}
    architecture: dict[str, Any] = _plain(plain)
    return architecture


def _plain(value: Any) -> Any:
    """Tuples as lists, for JSON that reads back equal."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
