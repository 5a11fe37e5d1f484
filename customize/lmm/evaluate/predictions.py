"""Replies that are kept: one file a model and task, a line a reply, so that nothing is generated twice.

    OUT/predictions/bison-3f0c....jsonl
      {"about": {"model": ..., "identity": {...}, "task": "bison", "settings": {...}}}
      {"key": "17", "prompt": "9a...", "reply": "A", "finish": "stop", "prompt_tokens": 1190, "new_tokens": 1}

A line is on the disk before the next reply is taken. A kept reply is used again where its prompt's hash is equal, which
is of texts, image bytes and limits. Lines without an answer say why, and their questions are asked again by the next
run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from index.errors import BadInput
from index.files import hash_json
from mining.chat.chat import ChatModel, ChatReply, ChatRequest, request_hash
from mining.sets.appended_lines import append_line, read_lines

__all__ = ["Predictions"]

_REMEDY = "delete the line; its question is asked again"


class Predictions:
    """The kept replies of one model to one task's questions.

    folder: where the file is. name: of the task. settings: what else decides the replies, JSON data; another value of
    it, or another identity of the model, is another file.
    """

    def __init__(self, folder: Path, name: str, model: ChatModel, settings: Mapping[str, Any]) -> None:
        self._about = {
            "model": model.name,
            "identity": dict(model.identity),
            "task": name,
            "settings": dict(settings),
        }
        decides = {key: value for key, value in self._about.items() if key != "model"}
        self.path = folder / f"{_file_name(name)}-{hash_json(decides)[:16]}.jsonl"
        self._model = model
        self._kept: dict[str, tuple[str, ChatReply]] = {}
        self._begun = self.path.exists()
        if self._begun:
            for row in read_lines(self.path, _parse, "a kept reply", _REMEDY)[0]:
                if "key" in row:
                    self._kept[row["key"]] = (row["prompt"], _reply(row))

    def replies(
        self,
        requests: Iterable[tuple[str, ChatRequest | str]],
        on_reply: Callable[[], None] = lambda: None,
    ) -> tuple[dict[str, ChatReply | str], int]:
        """(the reply to each request by key, how many were kept from before).

        requests: (key, request), or (key, the reason why it cannot be asked). on_reply: called after each.
        """
        found: dict[str, ChatReply | str] = {}
        hashes: dict[str, str] = {}
        kept = 0

        def to_ask() -> Iterator[tuple[str, ChatRequest]]:
            nonlocal kept
            for key, request in requests:
                if isinstance(request, str):
                    found[key] = request
                    on_reply()
                    continue
                hashes[key] = request_hash(request)
                known = self._kept.get(key)
                if known is not None and known[0] == hashes[key] and known[1].finish != "failed":
                    found[key] = known[1]
                    kept += 1
                    on_reply()
                    continue
                yield key, request

        for key, reply in self._model.replies(to_ask()):
            self._append(key, hashes[key], reply)
            found[key] = reply
            on_reply()
        return found, kept

    def _append(self, key: str, prompt: str, reply: ChatReply) -> None:
        if not self._begun:
            append_line(self.path, json.dumps({"about": self._about}, ensure_ascii=False), _parse)
            self._begun = True
        row = {
            "key": key,
            "prompt": prompt,
            "reply": reply.text,
            "finish": reply.finish,
            "prompt_tokens": reply.prompt_tokens,
            "new_tokens": reply.new_tokens,
            "error": reply.error,
            "answers": None if reply.answers is None else dict(reply.answers),
        }
        known = {name: value for name, value in row.items() if value is not None}
        # Half a surrogate pair, which a broken model may generate, is no UTF-8: such a reply is written escaped.
        line = json.dumps(known, ensure_ascii=False)
        append_line(self.path, line if _is_utf8(line) else json.dumps(known), _parse)


def _parse(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not ("about" in row or {"key", "prompt", "reply", "finish"} <= set(row)):
        raise BadInput("it lacks key, prompt, reply or finish")
    return row


def _reply(row: Mapping[str, Any]) -> ChatReply:
    names = ("prompt_tokens", "new_tokens", "error", "answers")
    return ChatReply(row["reply"], row["finish"], **{name: row.get(name) for name in names})


def _file_name(name: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in name)[:60]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
