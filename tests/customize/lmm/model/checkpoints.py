"""Tiny checkpoints in every layout that can be loaded: transformers' LLaVA, its halves, and LLaVA's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.mining.tiny_llava import tiny_llava, tiny_processor

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def write_llava(folder: Path) -> Path:
    """A LlavaForConditionalGeneration with its processor; 4 tokens an image, image token 3."""
    tiny_llava().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def write_clip(folder: Path, width: int = 32) -> Path:
    """A whole CLIPModel with its image processor, of which the vision tower is to be taken."""
    from transformers import CLIPConfig, CLIPModel

    text = dict(SHAPE, vocab_size=40, bos_token_id=1, eos_token_id=2)
    vision = dict(SHAPE, hidden_size=width, image_size=28, patch_size=14)
    torch.manual_seed(1)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    tiny_processor().image_processor.save_pretrained(folder)
    return folder


def plain_tokenizer() -> Any:
    """A byte tokenizer with `<s>` and `</s>` alone, as language models have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>"]
    vocabulary = {
        token: number for number, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>"
    )


def write_llama(folder: Path, tokenizer: Any = None, tied: bool = False) -> Path:
    """A LlamaForCausalLM of 258 tokens, none of them for images or padding."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(2)
    config = LlamaConfig(**SHAPE, vocab_size=258, bos_token_id=0, eos_token_id=1, tie_word_embeddings=tied)
    LlamaForCausalLM(config).save_pretrained(folder)
    (tokenizer or plain_tokenizer()).save_pretrained(folder)
    return folder


def write_original(folder: Path, tower: str, pickled: bool = False) -> Path:
    """LLaVA's own layout, as in liuhaotian/llava-v1.5-7b: Llama's names, the projector's, the tower by name."""
    write_llama(folder)
    weights = load_file(folder / "model.safetensors") | original_projector(32, 32)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "mm_vision_tower": tower,
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": 32,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "image_aspect_ratio": "pad",
        "freeze_mm_mlp_adapter": False,
        "tune_mm_mlp_adapter": False,
        "use_mm_proj": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def original_projector(features: int, width: int, kind: str = "mlp2x_gelu") -> dict[str, torch.Tensor]:
    """A projector's weights under the names of LLaVA's `mm_projector.bin`."""
    torch.manual_seed(3)
    if kind == "linear":
        return {
            "model.mm_projector.weight": torch.randn(width, features),
            "model.mm_projector.bias": torch.randn(width),
        }
    return {
        "model.mm_projector.0.weight": torch.randn(width, features),
        "model.mm_projector.0.bias": torch.randn(width),
        "model.mm_projector.2.weight": torch.randn(width, width),
        "model.mm_projector.2.bias": torch.randn(width),
    }
