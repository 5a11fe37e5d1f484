"""The sizes of a model that memory and computation follow from, read from configurations without any weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from customize.lmm.model.assemble import llama_config, original_tower, tower_config
from customize.lmm.model.source import LmmSource, checkpoint_layout, local_checkpoint, read_json
from index.errors import BadInput
from mining.chat.checkpoint_loading import loading

__all__ = ["ModelShape", "read_shape", "shape_of"]


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model of the LLaVA family.

    Attributes:
        tower, projector, language_model: numbers of weights; the language model's with embeddings and output layer.
        embeddings: of these, the rows that are looked up and take part in no product: 0 where they are also the output
            layer.
        lora_widths: sum over the language model's linear layers, but the output layer, of inputs + outputs; LoRA of
            rank r has r times as many weights.
        layers, hidden, intermediate, vocabulary: of the language model.
        key_value_share: heads of keys over heads of queries.
        image_tokens: tokens an image in the language model.
        tower_tokens, tower_width: number and width of an image's tokens in the vision tower.
    """

    tower: int
    projector: int
    language_model: int
    embeddings: int
    lora_widths: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    key_value_share: float
    image_tokens: int
    tower_tokens: int
    tower_width: int


def shape_of(config: Any) -> ModelShape:
    """The sizes of a model with a `LlavaConfig`; builds it without memory for its weights."""
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        llava: Any = LlavaForConditionalGeneration(config)
    text, vision = llava.config.text_config, llava.config.vision_config
    language = llava.model.language_model
    tokens = (int(vision.image_size) // int(vision.patch_size)) ** 2
    cls = int(hasattr(llava.model.vision_tower.get_submodule("embeddings"), "class_embedding"))
    tied = llava.lm_head.weight is llava.get_input_embeddings().weight
    output = 0 if tied else llava.lm_head.weight.numel()
    heads = int(text.num_attention_heads)
    return ModelShape(
        tower=_count(llava.model.vision_tower),
        projector=_count(llava.model.multi_modal_projector),
        language_model=_count(language) + output,
        embeddings=0 if tied else llava.get_input_embeddings().weight.numel(),
        lora_widths=sum(
            each.in_features + each.out_features for each in language.modules() if isinstance(each, nn.Linear)
        ),
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        intermediate=int(text.intermediate_size),
        vocabulary=int(text.vocab_size),
        key_value_share=int(getattr(text, "num_key_value_heads", None) or heads) / heads,
        image_tokens=tokens + (cls if llava.config.vision_feature_select_strategy == "full" else 0),
        tower_tokens=tokens + cls,
        tower_width=int(vision.hidden_size),
    )


def read_shape(source: LmmSource) -> ModelShape:
    """The sizes of the model that `source` names; of a name on the hub its small files are fetched alone.

    Raises:
        BadInput: a part is missing or of another kind.
        ClipmineError: the hub cannot be reached.
    """
    from transformers import LlavaConfig

    if source.model is not None:
        folder = local_checkpoint(source.model, "the model", weights=False)
        if checkpoint_layout(folder) == "llava":
            with loading(folder):
                return shape_of(LlavaConfig.from_pretrained(str(folder)))
        config = read_json(folder / "config.json")
        tower, text = original_tower(folder, weights=False), llama_config(folder)
        linear = config.get("mm_projector_type", "linear") == "linear"
    else:
        assert source.vision_tower is not None
        assert source.language_model is not None
        tower = local_checkpoint(source.vision_tower, "the vision tower", weights=False)
        text = _text_config(local_checkpoint(source.language_model, "the language model", weights=False))
        linear = source.projector_kind == "linear"
    act = "linear" if linear else "gelu"
    return shape_of(LlavaConfig(vision_config=tower_config(tower), text_config=text, projector_hidden_act=act))


def _text_config(folder: Path) -> Any:
    from transformers import AutoConfig

    with loading(folder):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    if not hasattr(config, "vocab_size"):
        raise BadInput(f"{folder}: holds a {config.model_type}, which is no language model")
    return config


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
