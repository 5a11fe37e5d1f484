"""The model's folder in plain transformers, its template and tokens, and the fast forward pass for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from scenes.training.llava_model import (
    EOS_ID,
    IMAGE_ID,
    IMAGE_TOKENS,
    PAD_ID,
    SPECIAL,
    fresh_model,
    image_features,
    save_folder,
    text_logits,
    train_tokenizer,
)
from scenes.training.llava_tower import pixels_of, tower_of_clip

TURNS = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Image 1: "},
            {"type": "image"},
            {"type": "text", "text": "\nImage 2: "},
            {"type": "image"},
            {"type": "text", "text": "\nIs there a bus in image 2?"},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "no"}]},
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": "a red car"},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["USER: Image 1: Is there a bus in image 2? ASSISTANT: no a red car"] * 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    out = tmp_path_factory.mktemp("llava")
    save_folder(fresh_model(tower_of_clip().state_dict(), 512), tokenizer, out)
    return out


def _pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, (count, 96, 96, 3)).astype(np.uint8)


def test_any_text_is_encoded_and_comes_back(tokenizer: Tokenizer) -> None:
    for text in ("Ein Bär, 3 €", 'says "Hi"\n\n ok', "漢字 🙂"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, 4]


def test_the_template_writes_vicuna_v1_with_images_in_their_places(folder: Path) -> None:
    processor: Any = LlavaProcessor.from_pretrained(folder)
    assert processor.apply_chat_template(TURNS) == (
        "<s>USER: Image 1: <image>\nImage 2: <image>\nIs there a bus in image 2? ASSISTANT: no</s>"
        "USER: What is it? ASSISTANT: a red car</s>"
    )
    with_system = [{"role": "system", "content": "Be brief."}, TURNS[2]]
    assert processor.apply_chat_template(with_system, add_generation_prompt=True) == (
        "<s>Be brief. USER: What is it? ASSISTANT:"
    )


def test_answers_with_their_stops_are_what_is_trained(folder: Path) -> None:
    tokenizer = LlavaProcessor.from_pretrained(folder).tokenizer
    template = (folder / "chat_template.jinja").read_text()
    encoded = tokenizer.apply_chat_template(
        TURNS, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    kept = [i for i, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(kept) == " no</s> a red car</s>"
    prompt = tokenizer.apply_chat_template(TURNS[:1], chat_template=template, add_generation_prompt=True)
    ids = prompt["input_ids"] if not isinstance(prompt, list) else prompt
    assert list(ids) + tokenizer.encode(" no") + [EOS_ID] == encoded["input_ids"][: len(ids) + 2]


def test_plain_transformers_gives_the_logits_of_the_fast_pass(folder: Path) -> None:
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    processor: Any = LlavaProcessor.from_pretrained(folder)
    pictures = _pictures(2)
    text = processor.apply_chat_template(TURNS)
    given = processor(text=text, images=[Image.fromarray(p) for p in pictures], return_tensors="pt")
    assert (given["input_ids"] == IMAGE_ID).sum() == 2 * IMAGE_TOKENS
    torch.testing.assert_close(pixels_of(pictures), given["pixel_values"])
    with torch.no_grad():
        plain = model(**given).logits[0]
        padded = torch.nn.functional.pad(given["input_ids"], (0, 5), value=PAD_ID)
        wanted = torch.zeros_like(padded, dtype=torch.bool)
        wanted[:, : len(plain)] = True
        fast, half = (
            text_logits(model, padded, image_features(model, pixels_of(pictures), dtype), wanted, dtype)[0]
            for dtype in (torch.float32, torch.bfloat16)
        )
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert (half - plain).abs().max() < 0.1


def test_weights_are_written_in_fp16_and_tied(folder: Path) -> None:
    model = LlavaForConditionalGeneration.from_pretrained(folder)
    assert model.dtype == torch.float16
    assert model.lm_head.weight.data_ptr() == model.model.language_model.embed_tokens.weight.data_ptr()
