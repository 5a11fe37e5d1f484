"""Builds a model of the LLaVA family from a vision tower, a language model and a projector.

LLaVA's own checkpoints (github.com/haotian-liu/LLaVA) are such parts too: language model and projector lie in one
folder, whose configuration names the vision tower (`mm_vision_tower`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from customize.lmm.model.image_input import image_processor
from customize.lmm.model.projector import (
    load_projector,
    new_projector,
    read_projector,
    select_projector,
)
from customize.lmm.model.source import LmmSource, local_checkpoint, read_json
from customize.lmm.model.tokens import add_tokens
from index.errors import BadInput
from mining.chat.checkpoint_loading import load_weights, loading

__all__ = ["Parts", "assemble", "llama_config", "load_original", "original_tower", "tower_config"]

# The model, its tokenizer, its image processor, its chat template.
Parts = tuple[Any, Any, Any, str | None]

# What a CLIP or SigLIP checkpoint has beside its vision tower.
_NOT_OF_THE_TOWER = r"^(text_model\.|text_projection|visual_projection|logit_scale|logit_bias|text_embeds)"
# What LLaVA's own checkpoint has beside its language model; 1.5 may repeat the frozen tower.
_NOT_OF_THE_LANGUAGE_MODEL = r"(^|\.)(mm_projector|vision_tower)\."
# Fields of LLaVA's configuration that Llama's does not have.
_LLAVA_FIELDS = ("mm_", "image_", "tune_mm", "freeze_mm", "unfreeze_mm", "use_mm", "tokenizer_", "vision_tower")


def assemble(tower_folder: Path, language_folder: Path, source: LmmSource, dtype: torch.dtype, seed: int) -> Parts:
    """A model of a vision tower and a language model with a new projector, of the kind of `source.projector`'s file.

    Raises:
        BadInput: a folder is no checkpoint of its kind.
    """
    from transformers import AutoModelForCausalLM

    if "vision_config" in read_json(language_folder / "config.json"):
        raise BadInput(f"{language_folder}: is a model with images already; give it as model, or a language model")
    kind = source.projector_kind if source.projector is None else read_projector(source.projector).kind
    language = load_weights(AutoModelForCausalLM, language_folder, dtype)
    layer = source.vision_feature_layer
    return _join(tower_folder, language_folder, language, kind, layer, "patch", source.pad_to_square, seed)


def load_original(folder: Path, source: LmmSource, dtype: torch.dtype, seed: int) -> Parts:
    """A model from LLaVA's own layout, such as liuhaotian/llava-v1.5-7b. Raises as `assemble` does."""
    from transformers import LlamaForCausalLM

    config = read_json(folder / "config.json")
    own = llama_config(folder)
    language = load_weights(LlamaForCausalLM, folder, dtype, ignore=_NOT_OF_THE_LANGUAGE_MODEL, config=own)
    weights = select_projector(dict(_projector_tensors(folder)), str(folder))
    tower = original_tower(folder)
    layer, select = int(config.get("mm_vision_select_layer", -2)), str(config.get("mm_vision_select_feature", "patch"))
    padding = source.pad_to_square
    if padding is None and "image_aspect_ratio" in config:
        padding = config["image_aspect_ratio"] == "pad"
    parts = _join(tower, folder, language, weights.kind, layer, select, padding, seed)
    model = parts[0]
    with torch.no_grad():
        load_projector(model.model.multi_modal_projector, model.config, weights, str(folder))
    return parts


def _join(
    tower_folder: Path,
    language_folder: Path,
    language: Any,
    kind: str,
    layer: int,
    select: str,
    pad_to_square: bool | None,
    seed: int,
) -> Parts:
    from transformers import AutoTokenizer, LlavaConfig, LlavaForConditionalGeneration

    tower = _load_tower(tower_folder, language.dtype)
    images = image_processor(tower_folder, pad_to_square)
    with loading(language_folder):
        tokenizer = AutoTokenizer.from_pretrained(str(language_folder), trust_remote_code=False)
    if tokenizer.eos_token is None:
        raise BadInput(f"{language_folder}: its tokenizer has no end-of-sequence token, so no answer could stop")
    image_token = add_tokens(tokenizer, language)
    # SigLIP has no CLS token to leave out; LLaVA calls the patches alone "patch", transformers "default".
    has_cls = hasattr(tower.get_submodule("embeddings"), "class_embedding")
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=language.config,
        image_token_index=image_token,
        projector_hidden_act="linear" if kind == "linear" else "gelu",
        vision_feature_layer=_checked_layer(layer, tower, tower_folder),
        vision_feature_select_strategy="default" if has_cls and select == "patch" else "full",
    )
    with torch.device("meta"):  # no memory for weights that are replaced
        model: Any = LlavaForConditionalGeneration(config)
    model.model.vision_tower = tower
    model.model.language_model = language.base_model
    model.model.multi_modal_projector = new_projector(config, seed).to(language.dtype)
    model.lm_head = language.get_output_embeddings()
    model.generation_config = language.generation_config
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.dtype = language.dtype
    return model, tokenizer, images, tokenizer.chat_template


def _load_tower(folder: Path, dtype: torch.dtype) -> Any:
    """The vision tower of a checkpoint of its own, or of a CLIP or SigLIP model."""
    from transformers import AutoModel

    return load_weights(AutoModel, folder, dtype, ignore=_NOT_OF_THE_TOWER, config=tower_config(folder))


def tower_config(folder: Path) -> Any:
    """The configuration of a checkpoint's vision tower; BadInput where it has none."""
    from transformers import AutoConfig

    with loading(folder):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    config = getattr(config, "vision_config", config)
    if not hasattr(config, "patch_size"):
        raise BadInput(f"{folder}: holds a {config.model_type}, which is no vision tower with patches")
    return config


def llama_config(folder: Path) -> Any:
    """The language model's configuration of a checkpoint in LLaVA's own layout."""
    from transformers import LlamaConfig

    config = read_json(folder / "config.json")
    llama = {name: value for name, value in config.items() if not name.startswith((*_LLAVA_FIELDS, "model_type"))}
    with loading(folder):
        return LlamaConfig(**llama)


def original_tower(folder: Path, *, weights: bool = True) -> Path:
    """The folder of the vision tower that a checkpoint in LLaVA's own layout names."""
    named = str(read_json(folder / "config.json")["mm_vision_tower"])
    # A folder beside the checkpoint comes first, so that a copied checkpoint can bring its tower.
    beside = folder / named
    return beside if beside.is_dir() else local_checkpoint(named, f"the vision tower of {folder}", weights=weights)


def _checked_layer(layer: int, tower: Any, folder: Path) -> int:
    layers = int(tower.config.num_hidden_layers)
    if not -layers - 1 <= layer <= layers:  # the embeddings are an output as well
        raise BadInput(f"vision_feature_layer {layer}: {folder} has {layers} layers")
    return layer


def _projector_tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """The projector's tensors of a checkpoint; of safetensors only they are read."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        with safe_open(file, "pt") as tensors:
            names = [name for name in tensors.keys() if "mm_projector" in name]  # noqa: SIM118  it is no dictionary
            yield from ((name, tensors.get_tensor(name)) for name in names)
    if files:
        return
    for file in _pickles_with_projector(folder):
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        yield from ((name, tensor) for name, tensor in tensors.items() if "mm_projector" in name)


def _pickles_with_projector(folder: Path) -> list[Path]:
    index = folder / "pytorch_model.bin.index.json"
    if not index.exists():
        return sorted(folder.glob("pytorch_model*.bin"))
    names = read_json(index).get("weight_map")
    if not isinstance(names, Mapping):
        raise BadInput(f"{index}: has no weight_map")
    return sorted({folder / Path(str(file)).name for name, file in names.items() if "mm_projector" in name})
