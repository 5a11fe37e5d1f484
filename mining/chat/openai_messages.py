"""Requests and answers in the form of OpenAI's chat completions, without the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from index.corpus.image_decoding import image_extension
from index.errors import BadInput
from mining.chat.chat import ChatReply, ChatRequest, Finish
from mining.export.templates import text_filter
from mining.sets.annotation import Turn

__all__ = ["Garbled", "ServerError", "completion_request", "read_reply", "server_error"]

# The types that servers take, by the extension that fits the file's content.
_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_FINISH: Mapping[str, Finish] = {"length": "length", "max_tokens": "length", "content_filter": "refused"}
# Characters of a server's own words that are shown.
_WORDS = 300
# A count of tokens above this is an error of the server; it would spoil the sums and the budget.
_MOST_TOKENS = 1_000_000_000

Hide = Callable[[str], str]


class Garbled(Exception):
    """A server's answer holds no reply; asking again may help. The text says in a line what it holds instead."""


class ServerError(NamedTuple):
    """words: the server's own, in one line. code: its code or type of the error, "" without one. status: a number in
    the error itself, where a server answers 200 with an error inside.
    """

    words: str
    code: str
    status: int | None


def completion_request(request: ChatRequest) -> dict[str, Any]:
    """messages, max_tokens, temperature and seed of a request; images are data URLs of the files as they are.

    Strings that a model's prompt may give a meaning to (`<|im_end|>`, `</s>`) are broken in texts: a server writes the
    prompt with its own template, and many read such strings wherever they stand. Raises BadInput for a type of image
    that servers do not take.
    """
    plain = text_filter()
    urls = [_data_url(number, image) for number, image in enumerate(request.images)]
    body: dict[str, Any] = {
        "messages": [_message(turn, urls, plain) for turn in request.turns],
        "max_tokens": request.max_new_tokens,
        "temperature": request.temperature,
    }
    return body if request.seed is None else {**body, "seed": request.seed}


def read_reply(text: str, hide: Hide = str) -> ChatReply:
    """The reply of a chat completion's body. Raises Garbled where there is none; `server_error` may tell why.

    hide: as `server_error` has it; it is not applied to the reply's own text.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Garbled(f"the answer is no JSON, or was cut off ({len(text):,} characters)") from error
    except RecursionError as error:
        raise Garbled(f"the answer is nested too deeply ({len(text):,} characters)") from error
    if not isinstance(body, dict):
        raise Garbled("the answer is no JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        words = server_error(text, hide).words if body.get("error") else "the answer holds no choices"
        raise Garbled(words)
    tokens = (_count(body, "prompt_tokens"), _count(body, "completion_tokens"))
    return _choice(choices[0], tokens, hide)


def _choice(choice: Mapping[str, Any], tokens: tuple[int | None, int | None], hide: Hide) -> ChatReply:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Garbled("the answer holds no message")
    finish = _FINISH.get(str(choice.get("finish_reason")), "stop")
    refusal = message.get("refusal")
    if finish == "refused" or (isinstance(refusal, str) and refusal):
        words = refusal if isinstance(refusal, str) and refusal else "a content filter withheld the answer"
        return ChatReply("", "refused", *tokens, error=_line(words, hide))
    content = message.get("content")
    if isinstance(content, list):  # a few servers give parts, as requests do
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if content is None and finish == "length":  # all tokens went into the thoughts of a reasoning model
        content = ""
    if not isinstance(content, str):
        raise Garbled("the answer's message holds no text")
    return ChatReply(content, finish, *tokens)


def server_error(text: str, hide: Hide = str) -> ServerError:
    """What a server says of an error: OpenAI's {"error": {"message", "code"}}, Ollama's, FastAPI's, or plain text.

    hide: takes secrets out of the words; it sees them whole, since half a secret is found no more.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return ServerError(_line(text, hide) or "no words", "", None)
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return ServerError(_line(error if isinstance(error, str) else json.dumps(error), hide), "", None)
    words = next((error[name] for name in ("message", "detail", "msg") if error.get(name)), error)
    code = error.get("code") or error.get("type") or ""
    status = error.get("code") if isinstance(error.get("code"), int) else error.get("status")
    line = _line(words if isinstance(words, str) else json.dumps(words), hide)
    return ServerError(line, str(code), status if isinstance(status, int) else None)


def _message(turn: Turn, urls: list[str], plain: Any) -> dict[str, Any]:
    if not turn.images:
        return {"role": turn.role, "content": plain(turn.text)}
    parts: list[dict[str, Any]] = []
    for part in turn.parts:
        if isinstance(part, int):
            parts.append({"type": "image_url", "image_url": {"url": urls[part]}})
        elif part:
            parts.append({"type": "text", "text": plain(part)})
    return {"role": turn.role, "content": parts}


def _data_url(number: int, image: bytes) -> str:
    extension = image_extension(image)
    if extension not in _TYPES:
        raise BadInput(f"image {number + 1} is {extension or 'of no known type'}; servers take JPEG, PNG, WebP and GIF")
    return f"data:{_TYPES[extension]};base64,{base64.b64encode(image).decode()}"


def _count(body: Mapping[str, Any], name: str) -> int | None:
    usage = body.get("usage")
    found = usage.get(name) if isinstance(usage, dict) else None
    known = type(found) is int and 0 <= found <= _MOST_TOKENS  # `type`, since True == 1
    return found if known else None


def _line(text: str, hide: Hide) -> str:
    line = " ".join(hide(text).split())
    return line if len(line) <= _WORDS else f"{line[:_WORDS]}..."
