"""A person's correction of an annotation, as a request brings it: its shape, its limits, the annotation that it makes.

Nothing of the request is trusted: the annotator is always `person:NAME`, the kind is that of the corrected annotation.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from index.errors import BadInput
from mining.sets.annotation import Annotation, Annotator, Part, Turn
from mining.sets.image_set import ImageSet

__all__ = ["CorrectionRequest", "corrected"]

# Ten times the longest conversations of published data sets. They bound the size of an answer of the service too.
_TURNS, _PARTS, _CHARACTERS = 100, 100, 100_000
_CONTENT_BYTES = 100_000


class TextPart(BaseModel):
    """A text within a turn."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=_CHARACTERS)


class ImagePart(BaseModel):
    """An image within a turn, by its position in the set, from 0."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[int, Field(strict=True, ge=0, lt=1 << 31)]


class CorrectedTurn(BaseModel):
    """A message of the corrected conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    parts: list[TextPart | ImagePart] = Field(max_length=_PARTS)


class CorrectionRequest(BaseModel):
    """What an annotation should say instead, whole: all turns and all content."""

    model_config = ConfigDict(extra="forbid")

    set_id: str = Field(max_length=2_000)
    parent: str = Field(max_length=200, description="the annotation_id of the annotation that is corrected")
    person: str = Field(min_length=1, max_length=60, description="who corrects; stored as person:NAME")
    turns: list[CorrectedTurn] = Field(default=[], max_length=_TURNS)
    content: dict[str, Any] = Field(default={}, description="what the turns do not say")


def corrected(request: CorrectionRequest, each: ImageSet, parent: Annotation) -> Annotation:
    """The annotation that replaces `parent` of the set `each`.

    Raises BadInput for a name without visible letters, an image that the set does not have, control characters in new
    text, a correction that changes nothing or is empty, or one that is too large; and where it changes `record` in the
    content, which it keeps in any case.
    """
    name = " ".join(request.person.split())
    if not name or any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise BadInput("person: a name needs letters that can be seen")
    turns = tuple(
        turn if turn in parent.turns else _checked(number, turn, each.size)
        for number, turn in enumerate(map(_turn, request.turns), 1)
    )
    content = {key: _checked_value(key, value, parent) for key, value in request.content.items()}
    _check_size(turns, content)
    nothing = not turns and not content.keys() - {"record"}
    # Where an imported annotation came from is no statement that a person could correct.
    if "record" in content and content["record"] != parent.content.get("record"):
        raise BadInput("content 'record': says where the annotation came from, which cannot be corrected; leave it out")
    if "record" in parent.content:
        content["record"] = parent.content["record"]
    if (turns, content) == (parent.turns, dict(parent.content)):
        raise BadInput("the correction says the same as the annotation that it corrects")
    if nothing:
        raise BadInput("the correction says nothing: give it turns or content")
    return Annotation.make(
        each.set_id, parent.kind, Annotator(f"person:{name}"), turns, content, parent=parent.annotation_id
    )


def _turn(turn: CorrectedTurn) -> Turn:
    parts = [part.image if isinstance(part, ImagePart) else part.text.replace("\r\n", "\n") for part in turn.parts]
    return Turn(turn.role, tuple(part for part in parts if part != ""))


def _checked(number: int, turn: Turn, size: int) -> Turn:
    if not any(isinstance(part, int) or part.strip() for part in turn.parts):
        raise BadInput(f"turn {number}: is empty; write something or remove it")
    for image in turn.images:
        if image >= size:
            raise BadInput(f"turn {number}: shows image {image + 1}; the set has {size}")
    _check_text(f"turn {number}", turn.parts)
    return turn


def _checked_value(key: str, value: Any, parent: Annotation) -> Any:
    if key not in parent.content or parent.content[key] != value:
        _check_text(f"content {key!r:.60}", _texts({key: value}))
    return value


def _check_size(turns: tuple[Turn, ...], content: dict[str, Any]) -> None:
    characters = sum(len(turn.text) for turn in turns)
    if characters > _CHARACTERS:
        raise BadInput(f"the turns have {characters:,} characters: at most {_CHARACTERS:,}")
    try:
        # orjson refuses what other JSON readers may not take, such as numbers of more than 64 bits; json refuses NaN.
        size = len(orjson.dumps(content))
        json.dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"content: cannot be written as JSON ({error})") from error
    if size > _CONTENT_BYTES:
        raise BadInput(f"content: has {size:,} bytes of JSON, at most {_CONTENT_BYTES:,}")


def _check_text(where: str, parts: Iterator[Part] | tuple[Part, ...]) -> None:
    for part in parts:
        for letter in part if isinstance(part, str) else ():
            if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t":
                raise BadInput(f"{where}: has the control character U+{ord(letter):04X}; remove it")


def _texts(value: Any) -> Iterator[str]:
    """All texts within JSON data, keys too; without recursion, since a request may be nested deeply."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            left += each
