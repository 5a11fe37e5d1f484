"""Records of LLaVA's and TRL's forms become conversations with images in place."""

from __future__ import annotations

from typing import Any

import pytest

from customize.lmm.data.record_forms import parse_record
from mining.sets.annotation import Turn
from mining.sets.importers.record import RecordRejected
from tests.retrieval.stores import jpeg

ASKED = Turn("user", (0, "\nWhat is this?"))
SAID = Turn("assistant", ("A bus.",))


@pytest.mark.parametrize(
    "record",
    [
        {
            "id": "7",
            "image": "a.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is this?"},
                {"from": "gpt", "value": "A bus."},
            ],
        },
        {
            "id": 7,
            "images": ["a.jpg"],
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "\nWhat is this?"}]},
                {"role": "assistant", "content": "A bus."},
            ],
        },
        {
            "id": "7",
            "image": "a.jpg",
            "messages": [
                {"role": "user", "content": "What is this?"},
                {"role": "assistant", "content": "A bus."},
            ],
        },
        {"id": "7", "images": ["a.jpg"], "prompt": "What is this?", "completion": "A bus."},
        {
            "question_id": 7,
            "images": "a.jpg",
            "prompt": [{"role": "user", "content": "<image>\nWhat is this?"}],
            "completion": [{"role": "assistant", "content": "A bus."}],
        },
    ],
    ids=["llava", "content lists", "texts", "prompt and completion", "prompt messages"],
)
def test_every_form_gives_the_same_conversation(record: dict[str, Any]) -> None:
    draft = parse_record(record)
    assert draft.record_id == "7"
    assert [image.name for image in draft.images] == ["a.jpg"]
    assert draft.said[0].turns == (ASKED, SAID)


def test_cad_inst_writes_its_list_of_images_as_a_text() -> None:
    turns = [
        {"from": "human", "value": "Image 1: <image>\nImage 2: <image>\nCompare."},
        {"from": "gpt", "value": "Commonalities:\n1. Both."},
    ]
    record = {"id": "8_97", "image": "['a.jpg', 'b.jpg']", "conversations": turns, "clip_sim_score": 0.8}
    draft = parse_record(record)
    assert [image.name for image in draft.images] == ["a.jpg", "b.jpg"]
    assert draft.said[0].turns[0].parts == ("Image 1: ", 0, "\nImage 2: ", 1, "\nCompare.")


def test_a_record_of_text_alone_has_no_images() -> None:
    turns = [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2"}]
    for record in ({"conversations": turns}, {"conversations": turns, "image": None, "id": None}):
        draft = parse_record(record)
        assert not draft.images
        assert draft.said[0].turns == (Turn("user", ("1 + 1?",)), Turn("assistant", ("2",)))


def test_image_files_may_be_in_the_record() -> None:
    messages = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A bus."}]
    draft = parse_record({"images": [{"bytes": jpeg(1), "path": None}, {"bytes": jpeg(2)}], "messages": messages})
    assert [image.data for image in draft.images] == [jpeg(1), jpeg(2)]
    assert draft.said[0].turns[0].parts == (0, "\n", 1, "\nWhat?")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1], "a record of another form"),
        ({"caption": "a bus"}, "a record of another form"),
        ({"messages": [{"role": "user", "content": "<image>"}], "images": ["a", "b"]}, "as many <image> markers"),
        ({"conversations": [{"from": "human", "value": "<image>"}]}, "as many <image> markers"),
        ({"conversations": [{"from": "robot", "value": "hi"}]}, "an unknown role"),
        ({"conversations": [{"from": "human", "value": 3}]}, "a field of another type"),
        ({"conversations": [{"from": "human", "value": "\ud800"}]}, "a text that is no Unicode"),
        ({"messages": "hello"}, "has no conversation"),
        ({"messages": [{"role": "assistant", "content": "no question"}], "image": "a"}, "as many <image> markers"),
    ],
)
def test_records_that_cannot_be_used_say_why(record: Any, reason: str) -> None:
    with pytest.raises(RecordRejected, match=reason):
        parse_record(record)
