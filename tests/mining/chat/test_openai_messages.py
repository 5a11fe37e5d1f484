from __future__ import annotations

import json
from typing import Any

import pytest

from index.errors import BadInput
from mining.chat.chat import ChatRequest
from mining.chat.openai_messages import Garbled, completion_request, read_reply, server_error
from mining.sets.annotation import Turn


def reply_of(**choice: Any) -> str:
    return json.dumps({"choices": [choice]})


def test_a_turn_of_texts_is_one_text_and_a_turn_with_images_is_parts() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    turns = (Turn("user", ("a", "b")), Turn("assistant", ("c",)), Turn("user", (0, "", "d")))
    messages = completion_request(ChatRequest(turns, (png,)))["messages"]
    assert messages[:2] == [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]
    assert messages[2]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "text", "text": "d"},
    ]


def test_a_seed_is_sent_where_there_is_one() -> None:
    turns = (Turn("user", ("a",)),)
    assert "seed" not in completion_request(ChatRequest(turns))
    assert completion_request(ChatRequest(turns, seed=0))["seed"] == 0


def test_a_file_of_no_known_type_is_refused() -> None:
    with pytest.raises(BadInput, match="image 1 is of no known type"):
        completion_request(ChatRequest((Turn("user", (0,)),), (b"<svg>",)))


def test_a_content_of_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "other"}, "odd", {"type": "text", "text": "b"}]
    assert read_reply(reply_of(finish_reason="stop", message={"content": parts})).text == "ab"


@pytest.mark.parametrize(
    "usage",
    [None, [], {"prompt_tokens": "7"}, {"prompt_tokens": True}, {"prompt_tokens": -1}, {"prompt_tokens": 10**400}],
)
def test_odd_counts_of_tokens_are_unknown(usage: Any) -> None:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": None}], "usage": usage}
    reply = read_reply(json.dumps(body))
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.new_tokens) == ("a", "stop", None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"choices": {}}', reply_of(), reply_of(message={"content": 3})])
def test_a_body_without_a_reply_is_garbled(text: str) -> None:
    with pytest.raises(Garbled):
        read_reply(text)


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        (
            '{"error": {"message": "too\\n long", "code": "context_length_exceeded"}}',
            "too long",
            "context_length_exceeded",
        ),
        ('{"error": "model not found"}', "model not found", ""),
        ('{"object": "error", "message": "too long", "type": "BadRequestError"}', "too long", "BadRequestError"),
        ('{"detail": [{"msg": "field required"}]}', '[{"msg": "field required"}]', ""),
        ("<html> busy </html>", "<html> busy </html>", ""),
        ("", "no words", ""),
        ("x" * 1_000, "x" * 300 + "...", ""),
    ],
)
def test_the_servers_words_are_found(text: str, words: str, code: str) -> None:
    assert server_error(text)[:2] == (words, code)
