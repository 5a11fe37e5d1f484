"""Folders of tiny models with random weights: a LLaVA, a Llama, and LoRA adapters."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.mining.tiny_llava import tiny_llava, tiny_processor

CHATML = (
    "{% for message in messages %}{{ '<s>' + message['role'] + '\n' + message['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def image_file(seed: int, width: int = 40, height: int = 28) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("models") / "llava"
    model = tiny_llava()
    with torch.no_grad():  # weights so large that answers depend on the prompt
        for weight in model.parameters():
            weight.mul_(8.0 if weight.ndim > 1 else 1.0)
    model.save_pretrained(str(folder))
    tiny_processor().save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "llama"
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(
        **shape,
        num_attention_heads=2,
        vocab_size=260,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer = tiny_processor().tokenizer
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def adapter_folder(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny Llama that changes its answers."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "adapter"
    base = AutoModelForCausalLM.from_pretrained(str(llama_folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft reads a property that transformers renames
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    torch.manual_seed(2)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder
