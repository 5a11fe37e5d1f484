"""Which CLIP model is meant: by name, by folder, or by the fingerprint of its weights and preprocessing.

A fingerprint is a plain dictionary. `name` and `pretrained` are for people; `architecture` and `weights` (hashes),
`quick_gelu`, `preprocessing` and `tokenizer` decide a vector. An adopted store has only what its owner stated.

Loads no model, and imports torch only to hash one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from index.errors import BadInput, ModelMismatch, ModelMissing
from index.files import hash_json, sha256_file
from index.moved import moved_folder

if TYPE_CHECKING:
    import torch

__all__ = [
    "CONFIG_NAME",
    "ModelSpec",
    "check_same_model",
    "describe_model",
    "model_identity",
    "read_model_config",
    "tokenizer_files",
    "weights_file",
]

CONFIG_NAME = "open_clip_config.json"
# open_clip's own order of preference among safetensors (open_clip.factory._find_checkpoint_in_dir).
_WEIGHTS_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
# Hugging Face's names of tokenizer files; `config.json` says which kind it is where they do not.
_READ_AT_LOADING = (
    CONFIG_NAME,
    "config.json",
    "tokenizer",
    "vocab",
    "merges",
    "special_tokens",
    "added_tokens",
    "spiece",
    "sentencepiece",
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_DECIDES = ("weights", "architecture", "quick_gelu", "preprocessing", "tokenizer")

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


@dataclass(frozen=True)
class ModelSpec:
    """A model's name in one of three forms.

    - `name` + `pretrained`: a model and a tag of open_clip's registry.
    - `model_dir`: a folder with `open_clip_config.json` and safetensors (open_clip's `local-dir:` form).
    - `name` + `random_seed`: seeded random weights, for benchmarks and tests.

    `precision` is that of the arithmetic; stored vectors are float16 in any case. Raises BadInput for any other mix.
    """

    name: str | None = None
    pretrained: str | None = None
    model_dir: str | None = None
    random_seed: int | None = None
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "fp16", "bf16"):
            raise BadInput(f"unknown precision {self.precision!r}: choose fp32, fp16 or bf16")
        if self.model_dir is not None:
            if self.name is not None or self.pretrained is not None or self.random_seed is not None:
                raise BadInput("a model is either a folder (--model-dir) or a name with a tag, not both")
            # A worker may run in another folder than the command.
            object.__setattr__(self, "model_dir", moved_folder(str(Path(self.model_dir).absolute())))
            return
        if self.pretrained is not None:  # as open_clip reads tags (open_clip.pretrained._clean_tag)
            object.__setattr__(self, "pretrained", self.pretrained.lower().replace("-", "_"))
        if self.name is None:
            raise BadInput("no model: name one (--model ViT-B-32 --pretrained openai) or a folder (--model-dir DIR)")
        if self.pretrained is not None and self.random_seed is not None:
            raise BadInput(f"model {self.name}: has either pretrained weights or random ones, not both")

    def __str__(self) -> str:
        if self.model_dir is not None:
            return self.model_dir
        return f"{self.name} ({self.pretrained or f'random weights, seed {self.random_seed}'})"


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """What enters a job's configuration hash: the content of a model folder, never where it lies."""
    identity: dict[str, Any] = {"precision": spec.precision}
    if spec.model_dir is not None:
        return {**identity, "folder_sha256": _folder_sha256(spec.model_dir)}
    return {**identity, "name": spec.name, "pretrained": spec.pretrained, "random_seed": spec.random_seed}


def read_model_config(model_dir: str) -> dict[str, Any]:
    """A model folder's `open_clip_config.json`.

    Raises BadInput if the file is not what it should be, ModelMissing where there is no folder.
    """
    path = Path(model_dir) / CONFIG_NAME
    if not Path(model_dir).is_dir():
        raise ModelMissing(
            f"{model_dir}: there is no such model folder",
            "copy it to storage that all machines see, or to the same path on each of them",
        )
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{model_dir}: is not a model folder (it has no {CONFIG_NAME})") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as JSON ({error})") from error
    model_cfg = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model_cfg, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= model_cfg.keys():
        raise BadInput(f"{path}: has no model_cfg with embed_dim, vision_cfg and text_cfg, as open_clip writes it")
    if not isinstance(config.get("preprocess_cfg", {}), dict):
        raise BadInput(f"{path}: preprocess_cfg is not an object")
    return config


def weights_file(model_dir: str) -> Path:
    """The safetensors file of a model folder; BadInput when there is none, or which one is meant is not clear."""
    found = sorted(Path(model_dir).glob("*.safetensors"))
    if not found:
        pickles = sorted(path.name for path in Path(model_dir).iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise BadInput(
                f"{model_dir}: holds pickled weights ({pickles[0]}), which can run code when opened; "
                f"save them as {_WEIGHTS_NAMES[0]}"
            )
        raise BadInput(f"{model_dir}: has no weights ({_WEIGHTS_NAMES[0]})")
    for name in _WEIGHTS_NAMES:
        if Path(model_dir, name) in found:
            return Path(model_dir, name)
    if len(found) > 1:
        raise BadInput(f"{model_dir}: has several weights, none of them called {_WEIGHTS_NAMES[0]}")
    return found[0]


def check_same_model(store: Mapping[str, Any], encoder: Mapping[str, Any], what: str) -> None:
    """Compare a store's fingerprint with an encoder's, as far as the store's goes.

    Raises:
        ModelMismatch: `what` ("the store X") was made with another model; the message names both and what differs.
    """
    if store.get("name") == "unknown":
        compared: tuple[str, ...] = ("dim",)
    elif "weights" in store:
        compared = _DECIDES
    else:  # adopted, on a person's word
        compared = ("dim", "name", "pretrained")
    differing = [field for field in compared if store.get(field) != encoder.get(field)]
    if differing:
        raise ModelMismatch(
            f"{what} was made with {_called(store)}, not with {_called(encoder)}: "
            f"another {', '.join(differing)}; use the model that it was made with"
        )


def _called(fingerprint: Mapping[str, Any]) -> str:
    text = str(fingerprint.get("name"))
    if fingerprint.get("pretrained"):
        text += f" ({fingerprint['pretrained']})"
    if "weights" in fingerprint:
        text += f", weights {str(fingerprint['weights'])[:12]}"
    return text


def _folder_sha256(model_dir: str) -> str:
    read_model_config(model_dir)
    files = [weights_file(model_dir), *_small_files(model_dir)]
    return _files_sha256(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


def tokenizer_files(model_dir: str) -> list[Path]:
    """The files of a model folder that its tokenizer is read from; none where open_clip brings it."""
    return [path for path in _small_files(model_dir) if path.name != CONFIG_NAME]


def _small_files(model_dir: str) -> list[Path]:
    """The configuration and what a tokenizer of its own reads; not a model card or a log of its training."""
    return sorted(path for path in Path(model_dir).iterdir() if path.name.startswith(_READ_AT_LOADING))


@lru_cache(maxsize=8)
def _files_sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = sha256()
    for path, _, _ in files:  # size and time only say when to hash again
        digest.update(f"{Path(path).name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


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
    """Hash of the tensors, so that a model has one hash whatever file it comes in."""
    import torch

    digest = sha256()
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
