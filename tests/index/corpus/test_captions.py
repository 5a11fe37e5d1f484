"""Captions in any encoding and form are read as they were meant, or refused with the reason; no letter is replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from index.corpus.captions import (
    CaptionReader,
    Captions,
    TextRejected,
    clean_text,
    decode_text,
    find_captions,
    parse_sidecar,
)
from index.corpus.reading import Reading

TEXT = "zwei Züge – 5€"


def rejection(function: Any, *arguments: Any) -> str:
    with pytest.raises(TextRejected) as caught:
        function(*arguments)
    return caught.value.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_a_mark_and_utf8_are_recognised(encoding: str) -> None:
    assert decode_text(TEXT.encode(encoding)) == TEXT
    assert decode_text(TEXT.encode(encoding), "latin-1") == TEXT


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", TEXT),
        ("latin-1", "naïve façade"),
        ("shift_jis", "赤いバス"),
        ("gb18030", "红色公共汽车"),
        ("utf-16-le", "red bus"),
        ("utf-16-be", "赤いバス"),
        ("iso2022_jp", "赤いバス"),
    ],
)
def test_another_encoding_is_read_when_it_is_named_and_refused_when_it_is_not(encoding: str, text: str) -> None:
    data = text.encode(encoding)
    assert decode_text(data, encoding) == text
    if not data.isascii() or b"\0" in data:
        assert rejection(decode_text, data) == "caption_not_utf8"


def test_bytes_that_are_not_in_the_named_encoding_are_refused() -> None:
    assert rejection(decode_text, b"\x81\x8d", "cp1252") == "caption_not_utf8"
    assert rejection(decode_text, b"\xff\xfe\xff", "cp1252") == "caption_not_utf8"


def test_joiners_are_letters_and_stay() -> None:
    for text in ("می‌روم", "क्‍ष", "👩‍👧"):
        assert find_captions(decode_text(text.encode()), {}).first == text
        assert find_captions(None, {"caption": text}).first == text


def test_text_is_kept_but_for_nuls_and_line_ends_at_the_end() -> None:
    assert clean_text("  a\0 <b>  \r\n") == "  a <b>  "
    assert clean_text("half \ud800").encode()


LINES = "one\ntwo\r\n\n three \n"


@pytest.mark.parametrize(
    ("text", "fields", "first", "every"),
    [
        ("one", {}, "one", ("one",)),
        (LINES, {}, "one", ("one", "two", " three ")),
        (LINES, {"caption": "another"}, "one", ("one", "two", " three ")),
        (LINES, {"caption": LINES}, LINES.rstrip("\n"), (LINES.rstrip("\n"),)),
        (None, {"caption": "a\nb"}, "a\nb", ("a\nb",)),
        ("text", {"caption": "json"}, "text", ("text",)),
        (None, {"caption": ["one", "", 3, "two"]}, "one", ("one", "two")),
        (None, {"caption": {"en": "a dog", "de": "ein Hund"}}, "a dog", ("a dog", "ein Hund")),
        ("text", {"caption": ["one", "two"]}, "text", ("one", "two")),
        (None, {"captions": ["one", "two"]}, "one", ("one", "two")),
        ("text", {"captions": ["one", "two"]}, "text", ("one", "two")),
        (None, {"caption": "", "captions": "only"}, "only", ("only",)),
        (" \n", {"caption": "json"}, "json", ("json",)),
    ],
)
def test_several_captions_follow_one_rule(
    text: str | None, fields: dict[str, Any], first: str, every: tuple[str, ...]
) -> None:
    assert find_captions(text, fields) == Captions(first, every)


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        ({}, None, "missing_caption"),
        ({"caption": None, "captions": []}, None, "missing_caption"),
        ({"caption": " "}, None, "empty_caption"),
        ({}, b"\n", "empty_caption"),
        ({"caption": 7}, None, "caption_not_text"),
        ({"captions": [{"en": "deep"}]}, None, "caption_not_text"),
        ({"caption": "half an emoji \ud83d"}, None, "caption_not_utf8"),
        ({"caption": ["fine", "\ud83d"]}, None, "caption_not_utf8"),
        ({}, b"caf\xe9", "caption_not_utf8"),
    ],
)
def test_what_is_no_caption_has_its_reason(fields: dict[str, Any], text: bytes | None, reason: str) -> None:
    assert rejection(CaptionReader.of(Reading()).read, "k", text, fields) == reason


def test_empty_captions_can_be_allowed_but_not_unreadable_ones() -> None:
    reader = CaptionReader.of(Reading(allow_empty_caption=True))
    assert reader.read("k", None, {})[0].all == ()
    assert rejection(reader.read, "k", None, {"caption": 7}) == "caption_not_text"
    assert rejection(reader.read, "k", b"caf\xe9", {}) == "caption_not_utf8"


def test_another_field_can_have_the_caption() -> None:
    reader = CaptionReader.of(Reading(caption_field="alt"))
    assert reader.read("k", None, {"alt": "this", "caption": "not this"})[0].first == "this"


def test_a_pattern_does_not_read_a_name_with_a_replaced_letter() -> None:
    reader = CaptionReader.of(Reading("{id}_{caption}"))
    assert reader.read("1_red_bus", None, {}) == (Captions("red bus", ("red bus",)), {"id": "1"})
    assert rejection(reader.read, "1_caf\ufffd", None, {}) == "caption_not_utf8"


def test_json_is_read_in_the_encodings_of_unicode_and_in_a_named_one() -> None:
    fields = {"caption": "Züge"}
    plain = json.dumps(fields, ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        assert parse_sidecar(plain.encode(encoding)) == fields
    assert parse_sidecar(plain.encode("cp1252"), "cp1252") == fields
    assert rejection(parse_sidecar, plain.encode("cp1252")) == "sidecar_not_utf8"
    assert rejection(parse_sidecar, b"[1]") == "broken_sidecar"
    assert parse_sidecar(b" \n") == {}
