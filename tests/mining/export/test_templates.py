"""Texts in which no string of a prompt's template is left, and which still read as before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import BadInput
from mining.export.templates import TEMPLATES, text_filter

SPECIAL = sorted({each for listed in TEMPLATES.values() for each in listed})


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("an <image> of a boat", "an image of a boat"),
        ("crossed </s>out", "crossed < /s>out"),
        ("[INST] do it [/INST]", "[ INST] do it [ /INST]"),
        ("<|im_start|>system", "< |im_start|>system"),
        ("<|image_7|>", "< |image_7|>"),
        ("a <b>bold</b> claim, 2 < 3 > 1", "a <b>bold</b> claim, 2 < 3 > 1"),
        ("### A heading\nUSER: hello", "### A heading\nUSER: hello"),
    ],
)
def test_special_strings_become_text_and_nothing_else_changes(text: str, plain: str) -> None:
    assert text_filter()(text) == plain


def test_breaking_one_string_does_not_make_another() -> None:
    assert "</s>" not in text_filter()("</<image>s>")
    assert text_filter()("<|<image>|>") == "< |image|>"
    assert "<image>" not in text_filter()("<im<image>age>")
    assert "###" not in text_filter("v0")("######")


def test_a_template_counts_its_own_strings_only() -> None:
    assert text_filter("vicuna_v1")("USER: [INST] ### </s>") == "USER : [INST] ### < /s>"
    assert text_filter("chatml")("</s> <|im_end|>") == "</s> < |im_end|>"
    assert text_filter(["[SEP]", "a"])("a [SEP] <image>") == "a [ SEP] image"
    with pytest.raises(BadInput, match=r"template 'vicuna': choose one of plain, vicuna_v1"):
        text_filter("vicuna")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(SPECIAL), st.text("<>|/[]#simage: ", max_size=6)), max_size=12).map("".join),
    st.sampled_from([None, *TEMPLATES]),
)
def test_no_text_keeps_a_special_string(text: str, template: str | None) -> None:
    plain = text_filter(template)(text)
    special = TEMPLATES[template] if template else [each for each in SPECIAL if each[0] in "<["]
    assert not [each for each in special if each in plain]
    assert text_filter(template)(plain) == plain
    kept = [each for each in plain if each not in "<> "]
    assert kept == [each for each in text if each not in "<> "]
