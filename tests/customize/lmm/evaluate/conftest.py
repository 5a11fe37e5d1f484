"""Questions and a model with known replies, for tests of evaluation."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mining.chat.chat import ChatReply, ChatRequest

Answers = Callable[[str, ChatRequest], ChatReply | str]


class KnownModel:
    """A ChatModel whose replies are a function of key and request; remembers what it was asked."""

    def __init__(self, answer: Answers, name: str = "known", **identity: Any) -> None:
        self._answer = answer
        self.name = name
        self.identity: Mapping[str, Any] = {"checkpoint": name, **identity}
        self.asked: list[str] = []

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        for key, request in requests:
            self.asked.append(key)
            said = self._answer(key, request)
            yield key, ChatReply(said, "stop") if isinstance(said, str) else said


def png(color: str) -> bytes:
    """A PNG file of 8 x 8 pixels of one color."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, names: Sequence[str]) -> None:
    """Write images of different colors."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(f"#{(number * 37) % 256:02x}{(number * 91) % 256:02x}{(number * 13) % 256:02x}"))


def choice_record(own: str | int, caption: str, answer: str, images: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A record in the form of CaD-VI's BISON.jsonl."""
    text = (
        f'Image 1: <image>\nImage 2: <image>\nWhich image suits the caption "{caption}" better?\n'
        "A. Image 1\nB. Image 2\nAnswer with the option's letter from the given choices directly."
    )
    return {"image": list(images), "text": text, "answer": answer, "question_id": own, **more}


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
