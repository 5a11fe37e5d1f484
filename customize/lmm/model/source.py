"""Where a multimodal model comes from: one checkpoint, or a vision tower and a language model; a projector; an adapter.

Every part is named as a folder or as a name on the Hugging Face hub. Only configurations, tokenizers and weights are
fetched of a name, never its code, and pickled weights are opened with `weights_only`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from index.errors import BadInput, ClipmineError
from index.files import local_path

__all__ = ["Layout", "LmmSource", "checkpoint_layout", "local_checkpoint", "read_json"]

# "llava": transformers' own folders; "original": those of github.com/haotian-liu/LLaVA.
Layout = Literal["llava", "original"]

_SMALL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
_SAFETENSORS = ["*.safetensors"]
_PICKLES = ["*.bin"]


@dataclass(frozen=True)
class LmmSource:
    """The parts of a model of the LLaVA family; each is a local folder or a name on the Hugging Face hub.

    Attributes:
        model: a checkpoint, in the layout of transformers or in LLaVA's own.
        vision_tower, language_model: the two halves of a new model, instead of `model`.
        projector: a file with the projector's weights: LLaVA's `mm_projector.bin`, or safetensors with its names or
            with transformers' (`multi_modal_projector.linear_1.weight`). A new projector is random without it.
        projector_kind: of a new projector: `mlp2x_gelu` as in LLaVA-1.5, or `linear` as in LLaVA. Ignored with a file.
        adapter: a folder with a LoRA adapter in peft's format, made on this model.
        vision_feature_layer: the layer of the tower whose output is used, of a new model; -2 is LLaVA's.
        pad_to_square: fill an image up to a square before it is scaled, as LLaVA-1.5 does, instead of cropping its
            centre. None: as the checkpoint says, and True where it does not say.
    """

    model: str | None = None
    vision_tower: str | None = None
    language_model: str | None = None
    projector: str | None = None
    projector_kind: Literal["mlp2x_gelu", "linear"] = "mlp2x_gelu"
    adapter: str | None = None
    vision_feature_layer: int = -2
    pad_to_square: bool | None = None

    def __post_init__(self) -> None:
        halves = (self.vision_tower, self.language_model)
        if self.model is not None and any(halves):
            raise BadInput("give one checkpoint (--model), or --vision-tower and --language-model, not both")
        if self.model is None and not all(halves):
            raise BadInput("no model: name a checkpoint (--model), or both --vision-tower and --language-model")
        if self.projector_kind not in ("mlp2x_gelu", "linear"):
            raise BadInput(f"projector {self.projector_kind!r:.50}: choose mlp2x_gelu or linear")


def local_checkpoint(name: str, what: str, *, weights: bool = True) -> Path:
    """The local folder of a checkpoint; one that is named by its place on the hub is downloaded, or found in the cache.

    Args:
        name: a folder, or OWNER/NAME.
        what: what it is, for messages: "the vision tower".
        weights: whether its weights are needed as well.

    Raises:
        BadInput: there is no such folder or name.
        ClipmineError: the hub cannot be reached, and the cache does not have it.
    """
    folder = local_path(name)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise BadInput(f"{name}: is a file; {what} is a folder or a name on the Hugging Face hub")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BadInput(f"{name}: there is no such folder; {what} is a folder or a name on the Hugging Face hub")
    return _download(name, what, weights)


def checkpoint_layout(folder: Path) -> Layout:
    """In which layout a folder holds a model of the LLaVA family.

    Raises:
        BadInput: it holds no such model, or one of a kind that is not supported.
    """
    config = read_json(folder / "config.json")
    kind = str(config.get("model_type"))
    if "mm_vision_tower" in config:
        if "anyres" in str(config.get("image_aspect_ratio")):
            raise _next(folder)
        if kind not in ("llava", "llava_llama"):
            raise BadInput(f"{folder}: a LLaVA of the language model {kind!r:.40}; only those of Llama can be loaded")
        return "original"
    if kind == "llava_next":
        raise _next(folder)
    if kind != "llava":
        hint = "; as a language model give it as language_model" if "vocab_size" in config else ""
        raise BadInput(f"{folder}: holds a model of type {kind!r:.40}, not llava{hint}")
    return "llava"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint; BadInput where there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if path.name == "config.json" and (path.parent / "adapter_config.json").exists():
            raise BadInput(
                f"{path.parent}: is an adapter; give it as the adapter (--adapter), and its base as the model (--model)"
            ) from error
        raise BadInput(f"{path.parent}: has no {path.name}, so it is no checkpoint") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: holds no JSON object")
    return value


def _next(folder: Path) -> BadInput:
    return BadInput(f"{folder}: is a LLaVA-NeXT model, which cuts images into tiles; take a LLaVA or LLaVA-1.5 model")


def _download(name: str, what: str, weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        kinds = _SAFETENSORS if weights else []
        folder = Path(snapshot_download(name, allow_patterns=[*_SMALL_FILES, *kinds]))
        if weights and not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_SMALL_FILES, *_PICKLES]))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(f"{name}: {what} is neither a folder nor a name on the Hugging Face hub") from error
    except Exception as error:  # of the network: any of several libraries' exceptions
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ClipmineError(
            f"{name}: {what} could not be downloaded ({reason:.200}); or give a local folder instead"
        ) from error
    return folder
