"""Side-car text becomes a caption and extra fields, whatever bytes it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from index.corpus.caption_pattern import parse_caption_pattern
from index.corpus.samples import READ_REASONS, Reject, Sample, ShardItem, clean_text, make_sample


def make(
    text: bytes | None = None, fields: object = None, raw: bytes | None = None, allow_empty: bool = False
) -> Sample | Reject:
    sidecar = json.dumps(fields).encode() if fields is not None else raw
    return make_sample("k", "s.tar", 512, b"image", text, sidecar, None, allow_empty)


def caption_of(made: Sample | Reject) -> str:
    assert isinstance(made, Sample), made
    return made.caption


def reason_of(made: Sample | Reject) -> str:
    assert isinstance(made, Reject), made
    assert made.reason in READ_REASONS
    assert (made.key, made.shard, made.stage) == ("k", "s.tar", "read")
    return made.reason


def test_text_comes_before_json_and_all_fields_are_set() -> None:
    fields = {"key": "x", "caption": "json", "url": "http://a/b", "width": 5, "height": 6, "status": "success"}
    made = make(b"text", fields)
    assert made == Sample(
        key="k",
        shard="s.tar",
        offset=512,
        size=5,
        image=b"image",
        caption="text",
        captions=("text",),
        url="http://a/b",
        width=5,
        height=6,
        sha256=hashlib.sha256(b"image").hexdigest(),
        extra='{"status": "success"}',
    )


def test_a_missing_text_falls_back_on_json() -> None:
    assert caption_of(make(None, {"caption": "from json"})) == "from json"
    assert caption_of(make(b"  ", {"caption": "from json"})) == "from json"
    assert caption_of(make(None, {"captions": ["first", "second"]})) == "first"


def test_a_list_of_captions_is_kept_without_its_empty_ones() -> None:
    made = make(b"one", {"captions": ["one", "", "two", 3, None, " "]})
    assert isinstance(made, Sample)
    assert made.captions == ("one", "two")


def test_empty_and_missing_captions_are_rejected_unless_allowed() -> None:
    assert reason_of(make(b" \n\t")) == "empty_caption"
    assert reason_of(make(None, {"caption": ""})) == "empty_caption"
    assert reason_of(make()) == "missing_caption"
    assert reason_of(make(None, {"caption": None, "captions": "no list"})) == "missing_caption"
    assert caption_of(make(allow_empty=True)) == ""


@pytest.mark.parametrize(
    "raw", [b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_broken_json_is_rejected(raw: bytes) -> None:
    assert reason_of(make(b"fine", raw=raw)) == "broken_sidecar"


def test_nan_in_json_becomes_null() -> None:
    made = make(b"x", raw=b'{"similarity": NaN, "width": NaN}')
    assert isinstance(made, Sample)
    assert json.loads(made.extra) == {"similarity": None}
    assert made.width is None


@pytest.mark.parametrize("width", [0, -1, 2**40, "12", True, 1.5])
def test_sizes_that_are_none_are_none(width: object) -> None:
    made = make(b"x", {"width": width})
    assert isinstance(made, Sample)
    assert made.width is None


def test_text_is_made_valid_and_otherwise_kept() -> None:
    assert clean_text(b"caf\xc3\xa9 \xff\0 <b>") == "café � <b>"
    assert clean_text("lone \ud800 surrogate").encode()
    assert clean_text("  spaces stay  \r\n") == "  spaces stay  "
    assert caption_of(make(None, raw=b'{"caption": "\\ud83d"}')).encode()


def test_a_pattern_takes_the_caption_from_the_key() -> None:
    pattern = parse_caption_pattern("{id}_{caption}")
    made = make_sample("d/n1_black_swan", "s", 0, b"i", b"text", b'{"a": 1, "captions": ["x"]}', pattern, False)
    assert isinstance(made, Sample)
    assert (made.caption, made.captions) == ("black swan", ("black swan",))
    assert json.loads(made.extra) == {"a": 1, "id": "n1"}
    rejected = make_sample("plain", "s", 0, b"i", b"text", None, pattern, False)
    assert rejected == Reject("plain", "s", "read", "pattern_mismatch")


def test_an_items_signature_changes_with_all_that_decides_its_samples() -> None:
    item = ShardItem(0, "/root", "tar", ("a.tar",), (10,))
    others = [
        dataclasses.replace(item, paths=("b.tar",)),
        dataclasses.replace(item, sizes=(11,)),
        dataclasses.replace(item, caption_pattern="{caption}"),
        dataclasses.replace(item, allow_empty_caption=True),
        dataclasses.replace(item, kind="folder"),
    ]
    assert len({item.signature, *(other.signature for other in others)}) == 6
    assert dataclasses.replace(item, number=5, root="/moved").signature == item.signature
    assert ShardItem(**json.loads(json.dumps(dataclasses.asdict(item)))).signature == item.signature


def test_reasons_are_words_for_reports() -> None:
    assert all(reason == reason.lower() and " " not in reason for reason in READ_REASONS)
