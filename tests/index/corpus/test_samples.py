"""Side-car text becomes a caption and extra fields, whatever bytes it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle

import pytest

from index.corpus.captions import CaptionReader
from index.corpus.reading import Reading
from index.corpus.samples import READ_REASONS, PassedOver, Reject, Sample, ShardItem, make_sample


def make(
    text: bytes | None = None, fields: object = None, raw: bytes | None = None, allow_empty: bool = False
) -> Sample | Reject:
    sidecar = json.dumps(fields).encode() if fields is not None else raw
    reader = CaptionReader.of(Reading(allow_empty_caption=allow_empty))
    return make_sample("k", "s.tar", 512, b"image", text, sidecar, reader)


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
    assert reason_of(make(None, {"caption": None, "captions": []})) == "missing_caption"
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


def test_a_pattern_takes_the_caption_from_the_key() -> None:
    reader = CaptionReader.of(Reading("{id}_{caption}"))
    made = make_sample("d/n1_black_swan", "s", 0, b"i", b"text", b'{"a": 1, "captions": ["x"]}', reader)
    assert isinstance(made, Sample)
    assert (made.caption, made.captions) == ("black swan", ("black swan",))
    assert json.loads(made.extra) == {"a": 1, "id": "n1"}
    rejected = make_sample("plain", "s", 0, b"i", b"text", None, reader)
    assert rejected == Reject("plain", "s", "read", "pattern_mismatch")


def test_an_items_signature_changes_with_all_that_decides_its_samples() -> None:
    item = ShardItem(0, "/root", "tar", ("a.tar",), (10,))
    others = [
        dataclasses.replace(item, paths=("b.tar",)),
        dataclasses.replace(item, sizes=(11,)),
        dataclasses.replace(item, kind="folder"),
        dataclasses.replace(item, lines={"a.tar": '{"caption": "x"}'}),
        *(
            dataclasses.replace(item, reading=reading)
            for reading in (
                Reading("{caption}"),
                Reading(allow_empty_caption=True),
                Reading(key_rule="stem"),
                Reading(image_ext=("img",)),
                Reading(caption_ext=("img",)),
                Reading(caption_field="alt"),
                Reading(caption_encoding="cp1252"),
            )
        ),
    ]
    assert len({item.signature, *(other.signature for other in others)}) == 1 + len(others)
    assert dataclasses.replace(item, number=5, root="/moved").signature == item.signature
    assert pickle.loads(pickle.dumps(item)) == item


def test_an_items_signature_is_that_of_stores_made_before_later_options_existed() -> None:
    item = ShardItem(0, "/root", "folder", ("a.jpg", "a.txt"), (10, 3), Reading("{caption}"))
    plain = ["folder", ["a.jpg", "a.txt"], [10, 3], "{caption}", False]
    assert item.signature == hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def test_files_that_are_passed_over_are_counted_by_extension_and_a_few_are_named() -> None:
    passed = PassedOver()
    for name in ("d/0.CLS", "1.cls", "._2.jpg", "README", *(f"{number}.npy" for number in range(9))):
        passed.add_file(name)
    assert passed.counts == {".cls": 2, ".npy": 9, "hidden": 1, "no extension": 1}
    assert passed.names == ["d/0.CLS", "1.cls", "._2.jpg", "README", "0.npy", "1.npy"]


def test_reasons_are_words_for_reports() -> None:
    assert all(reason == reason.lower() and " " not in reason for reason in READ_REASONS)
