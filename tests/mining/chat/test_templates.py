from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.chat.rendering import render
from mining.chat.templates import (
    CHAT_TEMPLATES,
    PLAIN,
    VICUNA_SYSTEM,
    VICUNA_V1,
    VICUNA_V1_NO_SYSTEM,
    chat_template_of,
)
from mining.sets.annotation import Turn
from tests.mining.chat.test_rendering import CHATML, VISION
from tests.mining.tiny_llava import tiny_processor

# What LLaVA-1.5's template on the hub does: all images first, answers marked, no stop.
IMAGES_FIRST = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
PLACES_WITHOUT_STOP = VICUNA_V1_NO_SYSTEM.replace("{{ eos_token or '</s>' }}", "")


@pytest.fixture
def processor() -> Any:
    made = tiny_processor()
    made.tokenizer.add_tokens(["<|im_start|>", "<|im_end|>", "<|image_pad|>"], special_tokens=True)
    return made


def with_eos(processor: Any, template: str | None) -> Any:
    processor.chat_template = template
    processor.tokenizer.eos_token = "<|im_end|>"
    return processor


@pytest.mark.parametrize("template", [VICUNA_V1, VICUNA_V1_NO_SYSTEM, VISION, CHATML])
def test_a_template_that_keeps_places_and_stops_is_kept(processor: Any, template: str) -> None:
    assert chat_template_of(with_eos(processor, template)) == template


@pytest.mark.parametrize("template", [IMAGES_FIRST, PLACES_WITHOUT_STOP, None])
def test_llava_15_gets_the_template_that_it_was_trained_with(processor: Any, template: str | None) -> None:
    processor.chat_template = template
    assert chat_template_of(processor) == VICUNA_V1


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (IMAGES_FIRST, "moves images"),
        (PLACES_WITHOUT_STOP, "stop"),
        (None, "has no chat template"),
        (VISION.replace("add_generation_prompt", "false"), "asks otherwise"),
        ("{{ raise_exception('no') }}", "does not fit"),
    ],
)
def test_another_checkpoint_without_a_fitting_template_must_be_given_one(
    processor: Any, template: str | None, problem: str
) -> None:
    with pytest.raises(BadInput, match=rf"{problem}.*vicuna_v1"):
        chat_template_of(with_eos(processor, template))


def test_a_template_is_taken_by_name(processor: Any) -> None:
    assert chat_template_of(processor, "plain") == PLAIN
    processor.chat_template = IMAGES_FIRST
    assert chat_template_of(processor, "own") == IMAGES_FIRST
    with pytest.raises(BadInput, match=r"choose one of vicuna_v1, .*plain, own"):
        chat_template_of(processor, "vicuna")


def test_the_template_of_a_tokenizer_alone_is_found(processor: Any) -> None:
    processor.tokenizer.chat_template = CHATML
    processor.tokenizer.eos_token = "<|im_end|>"
    processor.chat_template = None
    assert chat_template_of(processor.tokenizer) == chat_template_of(processor) == CHATML


def test_vicunas_system_text_stands_where_the_conversation_has_none(processor: Any) -> None:
    question = Turn("user", ("Why?",))
    assert render(VICUNA_V1, processor, [question], ask=True).text == f"<s>{VICUNA_SYSTEM} USER: Why? ASSISTANT:"
    own = [Turn("system", ("Be brief.",)), question]
    for template in (VICUNA_V1, VICUNA_V1_NO_SYSTEM):
        assert render(template, processor, own, ask=True).text == "<s>Be brief. USER: Why? ASSISTANT:"


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_plain_transformers_renders_our_templates(processor: Any, name: str) -> None:
    turns = [Turn("user", (0, "What is it?")), Turn("assistant", ("A bus.",))]
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A bus."}]},
    ]
    shown = render(CHAT_TEMPLATES[name], processor, turns).text
    assert processor.apply_chat_template(messages, chat_template=CHAT_TEMPLATES[name]) == shown
