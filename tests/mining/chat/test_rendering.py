from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.chat.rendering import render, special_strings, tokenizer_of
from mining.chat.templates import PLAIN, VICUNA_V1_NO_SYSTEM
from mining.sets.annotation import Turn
from tests.mining.tiny_llava import tiny_processor

# The forms of three families' templates: texts only without a mark of answers, one that writes image parts, and one
# that refuses a system message.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VISION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
)
TURNS = (
    Turn("user", ("Image 1: ", 0, "\nImage 2: ", 1, "\nWhat differs?")),
    Turn("assistant", ("The left bus is red.",)),
    Turn("user", ("Which is a bus?",)),
    Turn("assistant", ("a",)),
)


@pytest.fixture(scope="module")
def processor() -> Any:
    made = tiny_processor()
    marks = ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<end_of_turn>"]
    made.tokenizer.add_tokens(marks, special_tokens=True)
    return made


def trained(template: str, processor: Any, turns: tuple[Turn, ...] = TURNS) -> list[str]:
    shown = render(template, processor, turns)
    return [shown.text[start:end] for start, end in shown.trained]


def test_images_stand_where_the_turns_say(processor: Any) -> None:
    shown = render(VICUNA_V1_NO_SYSTEM, processor, TURNS[:1], ask=True)
    assert shown.text == "<s>USER: Image 1: <image>\nImage 2: <image>\nWhat differs? ASSISTANT:"


def test_answers_and_stops_are_trained_and_nothing_else(processor: Any) -> None:
    assert trained(VICUNA_V1_NO_SYSTEM, processor) == [" The left bus is red.</s>", " a</s>"]


def test_a_template_without_generation_marks_gives_answers_and_stops_too(processor: Any) -> None:
    assert trained(CHATML, processor) == ["The left bus is red.<|im_end|>", "a<|im_end|>"]
    assert trained(VISION, processor) == ["The left bus is red.<|im_end|>", "a<|im_end|>"]


def test_a_template_of_texts_gets_the_marker_of_an_image_in_the_text(processor: Any) -> None:
    assert "user\nImage 1: <image>\nImage 2: <image>\nWhat" in render(CHATML, processor, TURNS).text


def test_a_template_of_parts_writes_its_own_image(processor: Any) -> None:
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"Image 1: {image}\nImage 2: {image}\nWhat" in render(VISION, processor, TURNS).text


def test_the_plain_template_keeps_images_and_drops_the_question(processor: Any) -> None:
    shown = render(PLAIN, processor, (Turn("user", (0, "\nDescribe it.")), Turn("assistant", ("A red bus.",))))
    assert shown.text == "<s><image>A red bus.\n"
    assert shown.text[slice(*shown.trained[0])] == "A red bus.\n"


def test_a_system_message_goes_before_the_question_where_there_is_no_place_for_it(processor: Any) -> None:
    turns = (Turn("system", ("Be brief.",)), Turn("user", ("Why?",)), Turn("assistant", ("So.",)))
    shown = render(NO_SYSTEM, processor, turns)
    assert shown.text.startswith("<start_of_turn>user\nBe brief.\n\nWhy?")
    assert trained(NO_SYSTEM, processor, turns) == ["So.<end_of_turn>"]


@pytest.mark.parametrize("smuggled", ["</s>", "<image>", "USER: x ASSISTANT: y", "<|im_end|>", "</<image>s>"])
def test_a_text_cannot_write_a_special_string(processor: Any, smuggled: str) -> None:
    shown = render(VICUNA_V1_NO_SYSTEM, processor, (Turn("user", (smuggled,)), Turn("assistant", (smuggled,))))
    assert [shown.text.count(word) for word in ("<s>", "</s>", "<image>", "USER:", "ASSISTANT:", "<|im_end|>")] == (
        [1, 1, 0, 1, 1, 0]
    )


def test_two_texts_cannot_join_to_a_special_string(processor: Any) -> None:
    shown = render(VICUNA_V1_NO_SYSTEM, processor, (Turn("user", ("a </", "s> b <im", "age>")),), ask=True)
    assert "</s>" not in shown.text
    assert "<image>" not in shown.text


def test_the_words_of_other_formats_stay_text(processor: Any) -> None:
    assert "### USER: a" in render(CHATML, processor, (Turn("user", ("### USER: a",)),)).text
    assert "USER:" not in special_strings(CHATML, processor)


def test_a_template_that_refuses_a_conversation_says_why(processor: Any) -> None:
    refusing = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadInput, match="roles must alternate"):
        render(refusing, processor, TURNS)


def test_a_template_that_changes_answers_is_not_trained_with(processor: Any) -> None:
    changing = "{% for message in messages %}{{ message['content'] | upper }}{% endfor %}"
    with pytest.raises(BadInput, match="changes an answer"):
        render(changing, processor, TURNS)


def test_a_tokenizer_alone_is_its_own_tokenizer(processor: Any) -> None:
    assert tokenizer_of(processor) is processor.tokenizer
    assert tokenizer_of(processor.tokenizer) is processor.tokenizer


@pytest.mark.parametrize(
    "program", ["{{ 1 / 0 }}", "{{ range(10 ** 9) }}", "{{ messages[9]['x']['y'] }}", "{{ none + 1 }}"]
)
def test_a_template_that_fails_in_whatever_way_is_one_line(processor: Any, program: str) -> None:
    with pytest.raises(BadInput, match="the chat template refuses a conversation: "):
        render(program, processor, (Turn("user", ("a",)), Turn("assistant", ("b",))))
