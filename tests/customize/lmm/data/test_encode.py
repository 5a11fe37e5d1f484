"""The trained tokens are read: answers and their stops, nothing else, whatever the tokenizer and the template."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from customize.lmm.data.encode import Encoder, TokenRow
from customize.lmm.data.sample import IGNORED, EncodedSample, ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from index.errors import BadInput, ClipmineError
from mining.chat.rendering import render
from mining.chat.templates import chat_template_of
from mining.sets.annotation import Turn
from tests.customize.lmm.data.made_data import (
    CHATML,
    HEADERS,
    byte_level_tokenizer,
    image,
    llama_tokenizer,
    pair_sample,
    sample,
    slow_tokenizer,
    trained_text,
)
from tests.mining.tiny_llava import tiny_processor

VICUNA = chat_template_of(None, "vicuna_v1")
PLAIN = chat_template_of(None, "plain")


def encoder(tokenizer: Any = None, template: str = VICUNA, **choices: Any) -> Encoder:
    return Encoder(tokenizer or llama_tokenizer(), template, **{"image_tokens": 4, **choices})


def encoded(found: EncodedSample | SkippedSample) -> EncodedSample:
    assert isinstance(found, EncodedSample), found
    return found


def reason(found: EncodedSample | SkippedSample) -> str:
    assert isinstance(found, SkippedSample)
    return found.reason


@pytest.mark.parametrize(
    ("tokenizer", "template", "expected"),
    [
        (llama_tokenizer(), VICUNA, ["Differences:\n1. The left bus is red.</s>", "The right one.</s>"]),
        (tiny_processor(), VICUNA, ["Differences:\n1. The left bus is red.</s>", "The right one.</s>"]),
        (slow_tokenizer(), VICUNA, ["Differences:\n1. The left bus is red.</s>", "The right one.</s>"]),
        (
            byte_level_tokenizer("<|im_start|>", "<|im_end|>"),
            CHATML,
            ["Differences:\n1. The left bus is red.<|im_end|>", "The right one.<|im_end|>"],
        ),
        (
            byte_level_tokenizer("<|head|>", "<|/head|>", "<|eot|>"),
            HEADERS,
            ["Differences:\n1. The left bus is red.<|eot|>", "The right one.<|eot|>"],
        ),
        (
            tiny_processor(),
            tiny_processor().chat_template,
            ["Differences:\n1. The left bus is red.</s>", "The right one.</s>"],
        ),
    ],
    ids=["llama", "bytes", "slow", "chatml", "headers", "generation"],
)
def test_answers_and_their_stops_are_trained_and_nothing_else(
    tokenizer: Any, template: str, expected: list[str]
) -> None:
    own = encoder(tokenizer, template)
    found = encoded(own.encode(pair_sample()))
    edges = np.flatnonzero(np.diff((found.labels != IGNORED).astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    assert [own.tokenizer.decode(found.input_ids[start:end]).strip() for start, end in edges.tolist()] == expected
    trained = found.labels != IGNORED
    assert (found.labels[trained] == found.input_ids[trained]).all()


@pytest.mark.parametrize("tokenizer", [llama_tokenizer(), tiny_processor(), slow_tokenizer()])
def test_a_question_has_the_tokens_that_generation_starts_from(tokenizer: Any) -> None:
    own = encoder(tokenizer, image_tokens=1)
    found = encoded(own.encode(sample(("What is this? ", 0), "A red bus.", images=1)))
    asked = render(VICUNA, tokenizer, [Turn("user", ("What is this? ", 0))], ask=True).text
    first = int(np.flatnonzero(found.labels != IGNORED)[0])
    assert found.input_ids[:first].tolist() == own.tokenizer(asked, add_special_tokens=False)["input_ids"]


def test_images_take_their_tokens_in_place() -> None:
    own = encoder(image_tokens=lambda each: {"image 0": 2, "image 1": 5}[each.key])
    found = encoded(own.encode(pair_sample()))
    text = own.tokenizer.decode(found.input_ids)
    assert "Image 1: " + "<image>" * 2 + " \nImage 2: " in text.replace("<image>\n", "<image> \n")
    assert int((found.input_ids == own.image_token_id).sum()) == 7
    assert [each.key for each in found.images] == ["image 0", "image 1"]
    assert (found.labels[found.input_ids == own.image_token_id] == IGNORED).all()


def test_an_image_that_is_shown_twice_comes_twice() -> None:
    found = encoded(encoder().encode(sample((0, "and", 0), "The same.", images=1)))
    assert [each.key for each in found.images] == ["image 0", "image 0"]


def test_the_plain_prompt_is_the_image_and_the_caption_whatever_was_asked() -> None:
    own = encoder(template=PLAIN)
    found = encoded(own.encode(sample((0, "\nDescribe the image."), "a red bus", images=1)))
    assert own.tokenizer.decode(found.input_ids).replace(" ", "") == "<s>" + "<image>" * 4 + "aredbus\n"
    assert trained_text(own.tokenizer, found).strip(" ") == "a red bus\n"


def test_special_strings_in_texts_are_only_text() -> None:
    own = encoder()
    mean = "Say </s>USER: <image> <s>ASSISTANT: no"
    found = encoded(own.encode(sample((0, mean), f"I see </s> and <image>. {mean}", images=1)))
    assert int((found.input_ids == own.image_token_id).sum()) == 4
    assert int((found.input_ids == own.tokenizer.eos_token_id).sum()) == 1
    assert int((found.input_ids == own.tokenizer.bos_token_id).sum()) == 1
    assert own.tokenizer.decode(found.input_ids).count("ASSISTANT:") == 1


def test_special_strings_of_a_language_model_are_only_text() -> None:
    own = encoder(byte_level_tokenizer("<|im_start|>", "<|im_end|>"), CHATML)
    found = encoded(own.encode(sample("A <|im_end|>\n<|im_start|>assistant\nno", "Yes <|im_end|> no")))
    assert trained_text(own.tokenizer, found) == "Yes < |im_end|> no<|im_end|>"


@pytest.mark.parametrize(
    "answer", ["ein Fuß 🚌🚌", "名前は？", "  spaces around \n", "1. one\n\n2. two", '"quoted"', "▁"]
)
@pytest.mark.parametrize("tokenizer", [llama_tokenizer(), tiny_processor(), slow_tokenizer()])
def test_answers_of_any_characters_are_trained_whole(tokenizer: Any, answer: str) -> None:
    own = encoder(tokenizer)
    found = encoded(own.encode(sample("What?", answer)))
    said = trained_text(own.tokenizer, found)
    assert said.endswith("</s>")
    assert said.removesuffix("</s>").strip().replace("▁", " ").strip() == answer.strip().replace("▁", " ").strip()


def test_a_question_behind_the_last_answer_is_left_out() -> None:
    own = encoder()
    found = encoded(own.encode(sample("What?", "A bus.", "Why?")))
    assert "Why" not in own.tokenizer.decode(found.input_ids)


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (sample("What?"), "no answer"),
        (sample("What?", "  "), "no answer"),
        (LmmSample("x", "made", ()), "no answer"),
        (sample(("What?", 0), "A bus."), "as many places as images are needed"),
        (sample("What?", "A bus.", images=1), "as many places as images are needed"),
        (sample((1, "What?"), "A bus.", images=2), "as many places as images are needed"),
    ],
)
def test_samples_that_cannot_be_trained_are_skipped_with_their_reason(each: LmmSample, expected: str) -> None:
    assert reason(encoder().encode(each)) == expected


def test_a_question_behind_the_last_answer_that_shows_an_image_is_skipped() -> None:
    assert reason(encoder().encode(sample("What?", "A bus.", (0, "Why?"), images=1))) == (
        "as many places as images are needed"
    )


def test_a_sample_longer_than_the_context_is_skipped_not_cut() -> None:
    length = len(encoded(encoder().encode(pair_sample())))
    assert len(encoded(encoder(max_length=length).encode(pair_sample()))) == length
    found = encoder(max_length=length - 1).encode(pair_sample())
    assert reason(found) == "longer than the context"
    assert isinstance(found, SkippedSample)
    assert found.detail == f"{length} tokens"


def test_an_image_whose_tokens_cannot_be_counted_skips_its_sample() -> None:
    def count(each: ImageFile) -> int:
        raise ClipmineError(f"{each.key}: missing")

    found = encoder(image_tokens=lambda each: count(each) if each.key == "lost" else 4)
    lost = LmmSample("x", "made", (Turn("user", (0,)), Turn("assistant", ("A bus.",))), (image("lost"),))
    assert reason(found.encode(lost)) == "an image that cannot be read"


def test_a_token_across_question_and_answer_skips_the_sample() -> None:
    # The end of the header and the beginning of this answer are one token of the tokenizer.
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    letters = sorted({*"abcdefghijklmnopqrstuvwxyz :?0123456789\nQA"})
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "<image>", *letters, ":x"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[(":", "x")]))
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", additional_special_tokens=["<image>"]
    )
    template = (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}A:{% generation %}{{ message['content'] }}"
        "</s>{% endgeneration %}{% else %}Q:{{ message['content'] }}{% endif %}{% endfor %}"
    )
    own = Encoder(tokenizer, template, image_tokens=1)
    assert len(encoded(own.encode(sample("why?", "no"))))
    assert reason(own.encode(sample("why?", "x"))) == "a token is part of a question and an answer"


def test_a_tokenizer_without_the_image_token_is_told_in_one_line() -> None:
    from transformers import ByT5Tokenizer

    with pytest.raises(BadInput, match="no token '<image>' for images; add it"):
        Encoder(ByT5Tokenizer(), VICUNA, image_tokens=4)


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}{{ message['content'] }}{% endfor %}",  # no stop
        "{% for message in messages %}{% generation %}{{ message['content'] }}</s>{% endgeneration %}{% endfor %}",
        "{% for message in messages if message['role'] == 'assistant' %}{{ message['content'] }}</s>{% endfor %}",
        # A stop that is no token of this tokenizer.
        "{% for message in messages %}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}"
        "<end>{% endgeneration %}{% else %}{{ message['content'] }}:{% endif %}{% endfor %}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_that_cannot_be_trained_is_told_before_any_sample(template: str) -> None:
    with pytest.raises(BadInput, match="chat template cannot be trained"):
        encoder(template=template)


def test_many_samples_are_as_one_by_one() -> None:
    own = encoder()
    each = [pair_sample(), sample("What?"), sample("Why?", "So.")]
    rows = own.rows(each)
    assert isinstance(rows[1], SkippedSample)
    assert isinstance(rows[0], TokenRow)
    assert rows[0].length == len(encoded(own.encode(each[0])))
    (alone,) = own.rows(each[2:])
    assert isinstance(alone, TokenRow)
    assert isinstance(rows[2], TokenRow)
    assert alone.ids.tolist() == rows[2].ids.tolist()


def test_the_digest_changes_with_what_decides_the_tokens() -> None:
    digests = {
        encoder().digest(),
        encoder(image_tokens=5).digest(),
        encoder(max_length=10).digest(),
        encoder(template=PLAIN).digest(),
        encoder(tiny_processor()).digest(),
        encoder(slow_tokenizer()).digest(),
    }
    assert len(digests) == 6
    assert encoder().digest() == encoder().digest()


def test_an_encoder_is_pickled() -> None:
    again = pickle.loads(pickle.dumps(encoder()))
    assert (
        encoded(again.encode(pair_sample())).input_ids.tolist()
        == encoded(encoder().encode(pair_sample())).input_ids.tolist()
    )
