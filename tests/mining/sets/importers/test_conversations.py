"""Conversations of LLaVA's form and chat messages become turns and come back."""

from __future__ import annotations

from typing import Any

import pytest

from mining.sets.annotation import Turn
from mining.sets.importers.conversations import read_turns, write_turns
from mining.sets.importers.record import RecordRejected
from tests.mining.sets.importers.made_files import GPT, HUMAN

PARTS = [{"type": "text", "text": "left "}, {"type": "image"}, {"type": "text", "text": " right "}, {"type": "image"}]
CONVERSATIONS: list[tuple[list[dict[str, Any]], int]] = [
    ([HUMAN, GPT], 2),
    ([HUMAN, GPT, {"from": "human", "value": "Why?"}, {"from": "gpt", "value": ""}], 2),
    ([{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hi"}], 0),
    ([{"from": "human", "value": "<image>"}, GPT, {"from": "human", "value": "and <image>?"}, GPT], 2),
    ([{"from": "user", "value": "<image>"}, {"from": "assistant", "value": "A bus."}], 1),
    ([{"weight": 0, "from": "human", "value": "<image>"}, {"from": "gpt", "value": "x", "id": [1]}], 1),
    ([{"role": "user", "content": "<image>\nWhat?"}, {"role": "assistant", "content": "A bus."}], 1),
    ([{"role": "user", "content": PARTS}, {"role": "assistant", "content": "Blue."}], 2),
    ([{"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "a"}]}], 1),
]


@pytest.mark.parametrize(("conversation", "images"), CONVERSATIONS)
def test_a_conversation_comes_back(conversation: list[dict[str, Any]], images: int) -> None:
    turns, form = read_turns(conversation, images)
    assert [place for turn in turns for place in turn.images] == list(range(images))
    back = write_turns(turns, form)
    assert back == conversation
    assert [list(turn) for turn in back] == [list(turn) for turn in conversation]


def test_images_stand_where_their_markers_stand() -> None:
    turns, form = read_turns([HUMAN, GPT], 2)
    assert form == {}
    assert turns == (
        Turn("user", ("Image 1: ", 0, "\nImage 2: ", 1, "\nWhat differs?")),
        Turn("assistant", (GPT["value"],)),
    )


@pytest.mark.parametrize(
    ("conversation", "images", "message"),
    [
        ([HUMAN, GPT], 1, r"as many <image> markers as images are needed \(2 markers, 1 images\)"),
        ([{"from": "human", "value": "no marker"}, GPT], 2, "0 markers, 2 images"),
        ([{"from": "human", "value": "<image>\nWhat is it?"}, GPT], 0, "1 markers, 0 images"),
        ([{"role": "user", "content": [{"type": "text", "text": "<image> and <image>"}]}], 0, "2 markers, 0 images"),
        ([{"from": "tool", "value": "x"}], 0, "an unknown role"),
        ([], 0, "has no conversation"),
        ("hello", 0, "has no conversation"),
        ([{"speaker": "human", "text": "x"}], 0, "a conversation of another form"),
        ([HUMAN, {"from": "gpt"}], 2, "turn 2 lacks"),
        ([{"from": "human", "value": 3}], 0, "value is int, not a text"),
        ([{"role": "user", "content": [{"type": "video"}]}], 0, "a conversation of another form"),
        ([{"role": "user", "content": ["text"]}], 0, "a conversation of another form"),
    ],
)
def test_what_is_no_conversation_is_rejected(conversation: Any, images: int, message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        read_turns(conversation, images)
