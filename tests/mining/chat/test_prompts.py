from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.local_checkpoint import open_checkpoint
from mining.chat.prompts import Prompt, bucket, prompt_of
from mining.sets.annotation import Turn
from tests.mining.chat.conftest import image_file


@pytest.fixture(scope="module")
def llava(llava_folder: Path) -> Any:
    return open_checkpoint(str(llava_folder), template="vicuna_v1_no_system")


def made(checkpoint: Any, *parts: str | int, images: tuple[bytes, ...] = (), **options: Any) -> Prompt:
    found = prompt_of(checkpoint, ChatRequest((Turn("user", parts),), images, **options))
    assert isinstance(found, Prompt)
    return found


def test_a_padded_length_is_at_most_half_more_than_the_prompt() -> None:
    assert [bucket(n) for n in (1, 32, 33, 48, 49, 64, 65, 96, 97, 1_000, 1_025)] == [
        32, 32, 48, 48, 64, 64, 96, 96, 128, 1_024, 1_536
    ]  # fmt: skip
    assert all(n <= bucket(n) <= max(32, 1.5 * n) for n in range(1, 5_000))


def test_each_image_takes_as_many_tokens_as_it_has_patches(llava: Any) -> None:
    prompt = made(llava, "A ", 0, " B ", 1, images=(image_file(1), image_file(2)))
    assert int((prompt.ids == 3).sum()) == 8
    assert llava.tokenizer.decode(prompt.ids[:1]) == "<s>"
    assert int((prompt.ids == 1).sum()) == 1
    assert prompt.inputs["pixel_values"].shape == (2, 3, 28, 28)
    assert len(set(prompt.keys)) == 2


def test_answers_are_tokens_with_and_without_a_space_or_unknown(llava: Any) -> None:
    prompt = made(llava, "Which? A or B?", answers=("A", "B"))
    decode = llava.tokenizer.decode
    assert {text: {decode([token]).strip() for token in tokens} for text, tokens in prompt.answers.items()} == {
        "A": {"A"},
        "B": {"B"},
    }
    assert made(llava, "Which?", answers=("A", "rhinoceros and others")).answers == {}
    assert made(llava, "Which?").answers == {}


def test_an_image_may_be_shown_twice_and_in_any_order(llava: Any) -> None:
    files = (image_file(1), image_file(2))
    prompt, forward = made(llava, 1, 0, 1, images=files), made(llava, 0, 1, images=files)
    assert prompt.keys == (forward.keys[1], forward.keys[0], forward.keys[1])
    torch.testing.assert_close(prompt.inputs["pixel_values"][1], forward.inputs["pixel_values"][0], rtol=0, atol=0)


def test_a_prompt_of_a_language_model_has_one_first_token(llama_folder: Path) -> None:
    llama = open_checkpoint(str(llama_folder))
    assert llama.tokenizer.decode(made(llama, "Why?").ids) == "<s>user\nWhy?</s>\n<s>assistant\n"


def test_images_for_a_language_model_fail_alone(llama_folder: Path) -> None:
    request = ChatRequest((Turn("user", (0, "What?")),), (image_file(1),))
    reply = prompt_of(open_checkpoint(str(llama_folder)), request)
    assert isinstance(reply, ChatReply)
    assert "takes no images, but the request shows 1" in str(reply.error)


def test_an_image_that_cannot_be_read_fails_alone(llava: Any) -> None:
    reply = prompt_of(llava, ChatRequest((Turn("user", (0, "What?")),), (image_file(1)[:100],)))
    assert reply == ChatReply("", "failed", error="image 1 cannot be read (broken_image)")


def test_a_text_longer_than_the_context_fails_with_both_lengths(llama_folder: Path) -> None:
    llama = open_checkpoint(str(llama_folder))
    reply = prompt_of(llama, ChatRequest((Turn("user", ("word " * 1_000,)),)))
    assert isinstance(reply, ChatReply)
    assert reply.error == "text of 5,019 tokens exceeds the model's 256"


def test_an_answer_is_limited_to_what_the_context_leaves(llama_folder: Path) -> None:
    llama = open_checkpoint(str(llama_folder))
    prompt = made(llama, "a" * 200, max_new_tokens=100)
    assert prompt.max_new_tokens == 256 - len(prompt.ids) < 100
