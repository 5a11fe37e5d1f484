"""CaD-VI's evaluation files and NLVR2's statements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mining.sets.importers.questions import parse_cad_eval, parse_nlvr2
from mining.sets.importers.record import RecordRejected
from tests.mining.sets.importers.made_files import round_trip, write_images

ASKED = 'Image 1: <image>\nImage 2: <image>\nWhich image suits the caption "{}" better?\nA. Image 1\nB. Image 2'


def statement(number: str, label: str, **fields: Any) -> dict[str, Any]:
    return {
        "validation": {"61": label},
        "sentence": f"The right image shows {number} circles.",
        "left_url": "https://x.org/left.jpg",
        "writer": "61",
        "label": label,
        "right_url": "https://x.org/right.jpg",
        "synset": "beer bottle",
        "identifier": number,
        **fields,
    }


def test_questions_come_back_and_rounds_on_the_same_pair_are_one_set(tmp_path: Path) -> None:
    pair = ["eqbensd/844/image0.png", "eqbensd/844/image1.png"]
    sets = round_trip(
        tmp_path,
        "cad-eval",
        [
            {"image": pair, "text": ASKED.format("a dove"), "answer": "A", "question_id": "0_0"},
            {"image": pair, "text": ASKED.format("an eagle"), "answer": "B", "question_id": "0_1"},
            {"image": pair[::-1], "text": ASKED.format("a dog"), "answer": "A", "question_id": 5, "category": "verb"},
        ],
    )
    first, second = sets.with_annotations()
    assert [(each.kind, each.turns[1].text, each.content["question_id"]) for each in first.annotations] == [
        ("question", "A", "0_0"),
        ("question", "B", "0_1"),
    ]
    assert (first.set_id, second.set_id) == ("cad-eval-0_0", "cad-eval-5")
    assert second.annotations[0].content["category"] == "verb"


def test_statements_come_back_with_the_images_that_their_identifiers_name(tmp_path: Path) -> None:
    write_images(tmp_path / "nlvr2", ["dev/dev-850-0-img0.png", "dev/dev-850-0-img1.png"])
    sets = round_trip(
        tmp_path,
        "nlvr2",
        [
            statement("dev-850-0-0", "False"),
            statement("dev-850-0-1", "True"),
            statement("train-10171-0-0", "True", directory=57, left_url=None),
        ],
        images=(str(tmp_path / "nlvr2"),),
    )
    first, second = sets.with_annotations()
    assert [member.path for member in first.members] == ["dev/dev-850-0-img0.png", "dev/dev-850-0-img1.png"]
    assert [member.url for member in first.members] == ["https://x.org/left.jpg", "https://x.org/right.jpg"]
    assert [each.turns[1].text for each in first.annotations] == ["False", "True"]
    assert first.annotations[0].turns[0].parts == (0, 1, "The right image shows dev-850-0-0 circles.")
    assert (first.split, second.split) == ("dev", "train")
    assert second.members[0].key == "train-10171-0-img0.png"


def test_a_statement_may_lack_its_urls(tmp_path: Path) -> None:
    record = statement("test1-0-1-0", "True")
    del record["left_url"], record["right_url"]
    round_trip(tmp_path, "nlvr2", [record])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": ["a", "b"], "text": "<image>", "answer": "A"}, "1 markers, 2 images"),
        ({"image": ["a", "b"], "text": "x", "answer": 1}, "0 markers"),
        ({"image": [], "text": "<image> What?", "answer": "A"}, "1 markers, 0 images"),
        ({"image": ["a"], "text": "<image>", "answer": 1}, "answer is int"),
        ({"image": ["a", "b"], "answer": "A"}, r"lacks a field \(text\)"),
    ],
)
def test_what_is_no_question_is_rejected(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_cad_eval(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (statement("dev", "True"), "an identifier of another form"),
        ({**statement("dev-1-0-0", "True"), "label": True}, "label is bool"),
        ({**statement("dev-1-0-0", "True"), "left_url": 3}, "an image's URL is int"),
        ({"sentence": "x"}, r"lacks a field \(label, identifier\)"),
    ],
)
def test_what_is_no_statement_is_rejected(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_nlvr2(record)
