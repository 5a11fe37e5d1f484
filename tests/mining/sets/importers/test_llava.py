"""LLaVA's files and CaD-Inst: one image, several or none, records that share images, lists written as texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mining.sets.importers.llava import parse_llava, read_images
from mining.sets.importers.record import RecordRejected
from tests.mining.sets.importers.made_files import GPT, HUMAN, round_trip

ONE = [{"from": "human", "value": "What is this?\n<image>"}, {"from": "gpt", "value": "A bus."}]
TEXT = [{"from": "human", "value": "What is an <img> tag?"}, {"from": "gpt", "value": "HTML."}]


def test_records_of_one_image_several_and_none_come_back(tmp_path: Path) -> None:
    sets = round_trip(
        tmp_path,
        "llava",
        [
            {"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations": ONE},
            {"id": "wgByO4Y_0", "model": "", "conversations": TEXT},
            {"id": "pair", "image": ["a.jpg", "b.jpg"], "conversations": [HUMAN, GPT]},
            {"id": "list", "image": ["only.jpg"], "conversations": ONE},
            {"id": 7, "images": ["a.jpg"], "conversations": ONE, "source": {"x": [1, None]}},
            {"conversations": TEXT, "id": "order", "extra": 1.5},
            {"id": "empty", "image": None, "conversations": TEXT},
            {"id": "url", "image": "https://x.org/a.jpg", "conversations": ONE},
            {"id": "record", "image": "a.png", "conversations": ONE, "record": {"own": "field"}},
        ],
        ".json",
    )
    assert [each.size for each in sets] == [1, 0, 2, 1, 1, 0, 0, 1, 1]
    assert sets.with_annotations()[1].annotations[0].turns[0].parts == ("What is an <img> tag?",)
    assert sets[7].members[0].url == "https://x.org/a.jpg"
    assert sets[0].members[0].key == "coco/train2017/000000033471.jpg"


def test_records_with_the_same_images_are_annotations_of_one_set(tmp_path: Path) -> None:
    again = [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": "In Bath."}]
    sets = round_trip(
        tmp_path,
        "llava",
        [
            {"id": "a", "image": "1.jpg", "conversations": ONE},
            {"id": "b", "image": "2.jpg", "conversations": ONE},
            {"id": "a", "image": "1.jpg", "conversations": again},
            {"id": "a", "image": "3.jpg", "conversations": ONE},
            {"id": "a", "image": "1.jpg", "conversations": ONE},
        ],
    )
    assert [each.set_id for each in sets] == ["llava-a", "llava-b", "llava-a~2"]
    assert [len(each.annotations) for each in sets.with_annotations()] == [3, 1, 1]
    assert sets.manifest["import"]["repeated_ids"] == 1


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_cad_inst_comes_back(tmp_path: Path, suffix: str) -> None:
    asked = {"from": "human", "value": 'Which image suits the caption "A bus." better?\nA. Image 1\nB. Image 2'}
    records: list[dict[str, Any]] = [
        {
            "id": "8_97021_8_126714",
            "image": "['coco/1.jpg', \"coco/it's.jpg\"]",
            "conversations": [HUMAN, GPT, asked, {"from": "gpt", "value": "A"}],
            "clip_sim_score": 0.6834521,
        },
        {"id": "8_1_8_2", "image": "['a.jpg', 'b.jpg']", "conversations": [HUMAN, GPT], "clip_sim_score": None},
    ]
    sets = round_trip(tmp_path, "cad-inst", records, suffix)
    first = sets.with_annotations()[0]
    assert [member.key for member in first.members] == ["coco/1.jpg", "coco/it's.jpg"]
    assert [(each.kind, len(each.turns)) for each in first.annotations] == [("comparison", 4)]
    assert first.annotations[0].content["clip_sim_score"] == 0.6834521
    [source] = sets.sources.values()
    assert (source.licence, source.collection) == ("MIT", "cad-inst")


def test_conversations_may_be_written_as_a_text_too(tmp_path: Path) -> None:
    round_trip(tmp_path, "cad-inst", [{"id": "1", "image": "['a', 'b']", "conversations": repr([HUMAN, GPT])}])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "1", "image": "a.jpg"}, r"lacks a field \(conversations\)"),
        ({"image": "a", "images": ["b"], "conversations": ONE}, "has both"),
        ({"image": [1, 2], "conversations": ONE}, "an image's name is int"),
        ({"image": {"path": "a"}, "conversations": ONE}, "an image's name is dict"),
        ({"image": "a.jpg", "conversations": [HUMAN, GPT]}, "2 markers, 1 images"),
        ({"conversations": ONE}, "1 markers, 0 images"),
        ({"image": None, "conversations": ONE}, "1 markers, 0 images"),
    ],
)
def test_what_is_no_record_is_rejected(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_llava(record)


def test_how_images_were_written_is_noted_where_it_is_unusual() -> None:
    assert read_images("a.jpg")[1] == {}
    assert read_images(["a.jpg", "b.jpg"])[1] == {}
    assert read_images(["a.jpg"])[1] == {"list": True}
    assert read_images("['a.jpg']")[1] == {"written": "python", "list": True}
    assert read_images([])[1] == {"empty": []}
