"""A checkpoint of transformers, with or without a LoRA adapter, as it is found and loaded for answering.

Names and folders are opened in two steps: first configuration, tokenizer and template, which shows most mistakes in a
second; then the weights. Weights are safetensors; code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.errors import BadInput
from index.files import hash_json, local_path, sha256_file
from mining.chat.checkpoint_loading import add_adapter, loading
from mining.chat.checkpoint_loading import load_weights as load_base
from mining.chat.rendering import render, special_tokens, tokenizer_of
from mining.chat.templates import chat_template_of
from mining.sets.annotation import Turn

__all__ = ["LocalCheckpoint", "checkpoint_identity", "load_weights", "open_checkpoint", "stop_ids"]

_ADAPTER_CONFIG = "adapter_config.json"
# Files beside the weights that decide answers: the model's shape, its tokens, how images are prepared.
_DECIDING = ("*.safetensors", "config.json", "tokenizer*", "*processor_config.json", "*.model", "vocab.*", "merges.txt")


@dataclass(frozen=True)
class LocalCheckpoint:
    """name: as the user gave it. base: the folder or hub name of the model's own weights. adapter: a folder or None.

    config, processor: transformers' own; the processor is a tokenizer where the model takes no images. template: Jinja.
    """

    name: str
    base: str
    adapter: Path | None
    config: Any
    processor: Any
    template: str
    takes_images: bool

    @property
    def tokenizer(self) -> Any:
        return tokenizer_of(self.processor)

    @property
    def context(self) -> int | None:
        """Tokens of a prompt and its answer together, at most; None where the configuration does not say."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)


def open_checkpoint(name: str, adapter: str | None = None, template: str | None = None) -> LocalCheckpoint:
    """Find a checkpoint and open all but its weights.

    Args:
        name: a folder, a name on the Hugging Face hub, or a folder of a peft adapter, which names its base.
        adapter: a folder with a LoRA adapter for the model `name`.
        template: a name of CHAT_TEMPLATES or "own"; by default see `chat_template_of`.

    Raises:
        BadInput: there is no such checkpoint, it cannot be loaded, or the adapter was made on another model.
    """
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    base, adapter_folder = _base_and_adapter(name, adapter)
    with loading(base):
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    takes_images = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    if not takes_images and config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise BadInput(f"{base}: a model of type {config.model_type!r:.50} does not answer; give an LLM or a LLaVA")
    holder = base
    if adapter_folder is not None and any(adapter_folder.glob("tokenizer*.json")):
        holder = str(adapter_folder)  # the template and tokens that the adapter was trained with
    loader: Any = AutoProcessor if takes_images else AutoTokenizer
    with loading(holder):
        processor = loader.from_pretrained(holder, trust_remote_code=False)
    if takes_images and not hasattr(processor, "image_processor"):
        raise BadInput(f"{holder}: has no processor for images (preprocessor_config.json, processor_config.json)")
    try:
        chosen = chat_template_of(processor, template)
    except BadInput as error:
        raise BadInput(f"{holder}: {error}") from error
    return LocalCheckpoint(name, base, adapter_folder, config, processor, chosen, takes_images)


def load_weights(checkpoint: LocalCheckpoint, device: str, precision: str) -> Any:
    """The model in eval mode on a device. precision: float32, bfloat16 or float16. Raises BadInput as above."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GenerationConfig

    model = load_base(
        AutoModelForImageTextToText if checkpoint.takes_images else AutoModelForCausalLM,
        checkpoint.base,
        getattr(torch, precision),
        ignore="",  # a checkpoint may have weights of other parts, such as a reward head
        config=checkpoint.config,
        only_safetensors=True,
    )
    if checkpoint.adapter is not None:
        model = _adapted(model, checkpoint.adapter, checkpoint.base)
    # What the checkpoint says of sampling, penalties and lengths does not count here; only its stops do.
    kind: Any = GenerationConfig
    model.generation_config = kind(eos_token_id=model.generation_config.eos_token_id)
    return model.to(device).eval()


def checkpoint_identity(checkpoint: LocalCheckpoint) -> dict[str, Any]:
    """What of a checkpoint decides answers, as JSON data: hashes of its files, or a hub name with its commit."""
    commit = getattr(checkpoint.config, "_commit_hash", None)
    folder = local_path(checkpoint.base)
    own: Any = {"name": checkpoint.base, "commit": commit}
    return {
        "model": _folder_sha256(folder) if folder.is_dir() else own,
        "adapter": None if checkpoint.adapter is None else _folder_sha256(checkpoint.adapter),
        "template": hashlib.sha256(checkpoint.template.encode()).hexdigest(),
    }


def stop_ids(checkpoint: LocalCheckpoint, model: Any) -> list[int]:
    """The tokens at which an answer ends: the checkpoint's, the tokenizer's, and the template's behind an answer."""
    stated = model.generation_config.eos_token_id
    ids = set(stated if isinstance(stated, list) else [stated])
    ids.add(checkpoint.tokenizer.eos_token_id)
    probe = (Turn("user", ("a",)), Turn("assistant", ("b",)))
    shown = render(checkpoint.template, checkpoint.processor, probe)
    for start, end in shown.trained:
        written = [
            token for token in special_tokens(checkpoint.tokenizer) if shown.text[start:end].rstrip().endswith(token)
        ]
        ids.update(checkpoint.tokenizer.convert_tokens_to_ids(token) for token in written)
    found: set[Any] = ids - {None}
    return sorted(int(number) for number in found)


def _folder_sha256(folder: Path) -> str:
    files = sorted({file for pattern in _DECIDING for file in folder.glob(pattern) if file.is_file()})
    if (folder / _ADAPTER_CONFIG).exists():
        files.append(folder / _ADAPTER_CONFIG)
    return hash_json([[file.name, sha256_file(file)] for file in files])


def _base_and_adapter(name: str, adapter: str | None) -> tuple[str, Path | None]:
    folder = local_path(name)
    if adapter is None and (folder / _ADAPTER_CONFIG).exists() and not (folder / "config.json").exists():
        return _existing(_stated_base(folder), f"{name}: is an adapter of "), folder
    base = _existing(name, "")
    if adapter is None:
        return base, None
    path = local_path(adapter)
    if not (path / _ADAPTER_CONFIG).exists():
        raise BadInput(f"{adapter}: holds no peft adapter ({_ADAPTER_CONFIG})")
    stated = _stated_base(path)
    if not _same_model(stated, base):
        raise BadInput(
            f"{adapter}: is an adapter of {stated}, not of {base}; if that is the same model in another place, write "
            f"the place into its {_ADAPTER_CONFIG} (base_model_name_or_path)"
        )
    return base, path


def _existing(name: str, before: str) -> str:
    """The folder or hub name, as transformers takes it. Raises BadInput for a folder that is not there."""
    folder = local_path(name)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise BadInput(f"{before}{name}: has no config.json, so it is no checkpoint")
        return str(folder)
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or folder.exists():
        raise BadInput(f"{before}{name}: there is no such folder; give a folder or a name on the Hugging Face hub")
    return name


def _stated_base(adapter: Path) -> str:
    try:
        stated = json.loads((adapter / _ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{adapter / _ADAPTER_CONFIG}: does not say of which model it is an adapter") from error
    if not isinstance(stated, str) or not stated:
        raise BadInput(f"{adapter / _ADAPTER_CONFIG}: does not say of which model it is an adapter")
    beside = adapter / stated
    return str(beside.resolve()) if (beside / "config.json").exists() else stated


def _same_model(stated: str, base: str) -> bool:
    return stated.rstrip("/") == base.rstrip("/") or local_path(stated).resolve() == local_path(base).resolve()


def _adapted(model: Any, adapter: Path, base: str) -> Any:
    """The model with the adapter's layers in it; peft's own wrapper is not needed to generate."""
    generation_config = model.generation_config
    of_another = f"{adapter}: is an adapter of another model than {base}"
    bare = add_adapter(model, adapter, of_another, only_safetensors=True).get_base_model()
    bare.generation_config = generation_config
    return bare
