"""Answers of models by what was asked: one request of one model is sent once, whatever run, part or folder asks it.

    FOLDER/20261129T101500-4711-9f3c.jsonl     one file for each run that wrote; {"key", "text", "finish", ...} a line

The key is a hash of the model's identity and of the request (`mining.chat.chat.request_hash`: turns, images, limit,
temperature, seed). No address and no key of a server is written. Refusals and failures are not kept. Runs may share a
folder at the same time: each writes a file of its own, and sees what the others had written when it started.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from index.errors import BadInput
from index.files import hash_json
from mining.annotate.line_file import LineFile, whole_lines
from mining.chat.chat import ChatReply, ChatRequest, request_hash

__all__ = ["AnswerCache"]

_KEY = b'{"key": "'
_DIGITS = 64


class AnswerCache:
    """The answers of one model in a folder. Close it, or use it as a context manager. Not safe for threads."""

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        """identity: of the model (`ChatModel.identity`). Raises BadInput where the folder cannot be used."""
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput(f"{self.folder}: is a file; --cache names a folder")
        self._identity = hash_json(dict(identity))
        self._places: dict[bytes, tuple[Path, int, int]] = {}
        self._own: LineFile | None = None
        for path in sorted(self.folder.glob("*.jsonl")):
            for offset, line in whole_lines(path):
                if line.startswith(_KEY):
                    self._places[_digest(line)] = (path, offset, len(line))

    def __len__(self) -> int:
        """Answers in the folder, of all models."""
        return len(self._places)

    def key(self, request: ChatRequest) -> str:
        """64 hex digits that stand for this request to this model."""
        return hash_json([self._identity, request_hash(request)])

    def get(self, key: str) -> ChatReply | None:
        """The answer; None where there is none, or its line is damaged."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        path, offset, length = place
        try:
            with open(path, "rb", buffering=0) as stream:
                said = json.loads(os.pread(stream.fileno(), length, offset))
            if said.pop("key") != key or said["finish"] not in ("stop", "length") or not isinstance(said["text"], str):
                return None
            return ChatReply(**said)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def put(self, key: str, reply: ChatReply) -> None:
        """Keep an answer; a reply that is none is not kept. Raises DiskFull."""
        if not reply.answered:
            return
        if self._own is None:
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            self._own = LineFile(self.folder / name)
        said = {"text": reply.text, "finish": reply.finish}
        tokens = {"prompt_tokens": reply.prompt_tokens, "new_tokens": reply.new_tokens}
        offset, length = self._own.append({"key": key, **said, **tokens})
        self._places[bytes.fromhex(key)] = (self._own.path, offset, length)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
            self._own = None

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _digest(line: bytes) -> bytes:
    """The key of a line as 32 bytes; b"" where it is no hash."""
    try:
        return bytes.fromhex(line[len(_KEY) : len(_KEY) + _DIGITS].decode("ascii"))
    except ValueError:
        return b""
