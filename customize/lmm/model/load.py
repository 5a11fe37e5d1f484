"""Loads a multimodal model of the LLaVA family, whatever checkpoints its parts come from.

lmm = load_lmm(LmmSource(model="llava-hf/llava-1.5-7b-hf"), device="cuda", dtype="bfloat16")
lmm.model, lmm.processor, lmm.image_tokens            # LlavaForConditionalGeneration, LlavaProcessor, 576
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from customize.lmm.model.adapter import is_adapted, load_adapter
from customize.lmm.model.assemble import assemble, load_original
from customize.lmm.model.hashes import weights_sha256
from customize.lmm.model.image_input import describe_preprocessing, image_processor, image_token_count, make_processor
from customize.lmm.model.projector import load_projector, read_projector
from customize.lmm.model.source import LmmSource, checkpoint_layout, local_checkpoint
from index.errors import BadInput
from mining.chat.checkpoint_loading import load_weights, loading

__all__ = ["Lmm", "bare_model", "load_lmm"]


@dataclass
class Lmm:
    """A loaded model of the LLaVA family.

    Attributes:
        model: transformers' `LlavaForConditionalGeneration`, in eval mode; a peft `PeftModel` around one where an
            adapter was loaded or LoRA was applied.
        processor: `LlavaProcessor`, with its tokenizer, image processor and chat template.
        tokenizer: the processor's.
        image_token_id: the token that stands in the place of each of an image's features.
        image_tokens: tokens an image.
        source: the parts, as plain JSON data: names, and hashes of weights and preprocessing. See `describe_parts`.
    """

    model: Any
    processor: Any
    tokenizer: Any
    image_token_id: int
    image_tokens: int
    source: Mapping[str, Any]

    @property
    def llava(self) -> Any:
        """The `LlavaForConditionalGeneration` itself, without peft around it."""
        return bare_model(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.llava.device
        return device


def bare_model(model: Any) -> Any:
    """The `LlavaForConditionalGeneration` within a model: of peft, of DistributedDataParallel, or plain."""
    while True:
        if is_adapted(model):
            model = model.get_base_model()
        elif hasattr(model, "lm_head"):
            return model
        else:
            model = model.module


def load_lmm(
    source: LmmSource, *, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32", seed: int = 0
) -> Lmm:
    """Load a model; no parameter needs gradients.

    Args:
        dtype: of all weights: float32, bfloat16 or float16.
        seed: of a new projector.

    Raises:
        BadInput: a part is missing, is of another kind, or does not fit the others.
        ClipmineError: a part could not be downloaded.
    """
    chosen = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype), None)
    if chosen not in (torch.float32, torch.bfloat16, torch.float16):
        raise BadInput(f"dtype {dtype}: choose float32, bfloat16 or float16")
    names: dict[str, Any] = {}
    if source.model is not None:
        folder = local_checkpoint(source.model, "the model")
        names["model"] = _named(source.model, folder)
        if checkpoint_layout(folder) == "original":
            model, tokenizer, images, template = load_original(folder, source, chosen, seed)
        else:
            model, tokenizer, images, template = _load_llava(folder, source, chosen)
    else:
        assert source.vision_tower is not None
        assert source.language_model is not None
        tower = local_checkpoint(source.vision_tower, "the vision tower")
        language = local_checkpoint(source.language_model, "the language model")
        names |= {
            "vision_tower": _named(source.vision_tower, tower),
            "language_model": _named(source.language_model, language),
        }
        model, tokenizer, images, template = assemble(tower, language, source, chosen, seed)
    if source.projector is not None:
        names["projector"] = {"name": Path(source.projector).name}
        with torch.no_grad():
            weights = read_projector(source.projector)
            load_projector(model.model.multi_modal_projector, model.config, weights, source.projector)
    tokens = image_token_count(model.model.vision_tower, images, model.config.vision_feature_select_strategy)
    model.config.image_seq_length = tokens
    processor = make_processor(images, tokenizer, model.config, tokens, template)
    parts = describe_parts(model, processor) | {"names": names}
    model.requires_grad_(False).eval()
    if source.adapter is not None:
        adapter = local_checkpoint(source.adapter, "the adapter")
        names["adapter"] = _named(source.adapter, adapter)
        model = load_adapter(model, adapter, parts)
        model.requires_grad_(False).eval()
    return Lmm(model.to(device), processor, tokenizer, int(bare_model(model).config.image_token_index), tokens, parts)


def describe_parts(model: Any, processor: Any) -> dict[str, Any]:
    """Hashes of a model's parts, as plain JSON data: equal for equal weights, wherever they were loaded from.

    `vision_tower`, `language_model` (with its output layer) and `projector`: see `weights_sha256`. `preprocessing`: the
    image processor's settings. `features`: which of the tower's outputs are used.
    """
    inner, config = model.model, model.config
    return {
        "vision_tower": weights_sha256(inner.vision_tower),
        "language_model": weights_sha256(torch.nn.ModuleList([inner.language_model, model.lm_head])),
        "projector": weights_sha256(inner.multi_modal_projector),
        "preprocessing": describe_preprocessing(processor.image_processor),
        "features": {"layer": config.vision_feature_layer, "select": config.vision_feature_select_strategy},
    }


def _load_llava(folder: Path, source: LmmSource, dtype: torch.dtype) -> tuple[Any, Any, Any, str | None]:
    """Model, tokenizer, image processor and chat template of a folder in transformers' layout."""
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    model = load_weights(LlavaForConditionalGeneration, folder, dtype)
    with loading(folder):
        processor: Any = LlavaProcessor.from_pretrained(str(folder))
    tokenizer, place = processor.tokenizer, int(model.config.image_token_index)
    if tokenizer.convert_ids_to_tokens(place) != processor.image_token:
        raise BadInput(
            f"{folder}: the image token {place} of its config.json is not {processor.image_token} in its tokenizer"
        )
    return model, tokenizer, image_processor(folder, source.pad_to_square), processor.chat_template


def _named(name: str, folder: Path) -> dict[str, Any]:
    """How a part was named: a hub name with its commit, or a folder's last part, since paths mean nothing elsewhere."""
    if Path(name).is_dir():
        return {"name": Path(name).resolve().name}
    return {"name": name, "commit": folder.name}
