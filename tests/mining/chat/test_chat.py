from __future__ import annotations

from dataclasses import replace

import pytest

from index.errors import BadInput
from mining.chat.chat import ChatReply, ChatRequest, request_hash
from mining.sets.annotation import Turn

REQUEST = ChatRequest((Turn("user", (0, "What?")),), (b"image",))


def test_a_request_ends_with_the_user() -> None:
    for turns in ((), (Turn("user", ("a",)), Turn("assistant", ("b",)))):
        with pytest.raises(BadInput, match="ends with a turn of the user"):
            ChatRequest(turns)


def test_a_request_shows_only_images_that_it_has() -> None:
    with pytest.raises(BadInput, match="shows image 1, but has 1"):
        ChatRequest((Turn("user", (1,)),), (b"image",))


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, turns=(Turn("user", ("What?", 0)),)),
        replace(REQUEST, images=(b"other",)),
        replace(REQUEST, max_new_tokens=7),
        replace(REQUEST, temperature=0.5),
        replace(REQUEST, seed=1),
    ],
)
def test_all_that_decides_an_answer_is_in_the_hash(other: ChatRequest) -> None:
    assert request_hash(REQUEST) == request_hash(replace(REQUEST))
    assert request_hash(other) != request_hash(REQUEST)


def test_a_reply_with_a_text_is_an_answer() -> None:
    finishes = ("stop", "length", "refused", "failed")
    assert [ChatReply("", finish).answered for finish in finishes] == [True, True, False, False]  # type: ignore[arg-type]
