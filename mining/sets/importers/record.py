"""What an importer makes of one record of a foreign collection, and what several importers need for it.

A record becomes a `Draft`: the images as the record names them, and what it says of them. Which fields were where, and
how they were written, goes into `form`, so that the record can be made again. Nothing is read or fetched here.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mining.sets.annotation import IMAGE, Part, Turn, marked_parts

__all__ = [
    "TOO_DEEP",
    "Draft",
    "NamedImage",
    "RecordRejected",
    "Said",
    "as_written",
    "id_text",
    "in_order",
    "is_deep",
    "marked_turn",
    "named_image",
    "pick",
    "read_written",
    "require_text",
    "require_unicode",
    "rest_of",
    "turn_text",
    "without_nonfinite",
]

Record = Mapping[str, Any]

TOO_DEEP = "nested too deeply"
DEEPEST = 100


class RecordRejected(ValueError):
    """A record can't be imported. reason: one of a few phrases, counted; detail: what this record has."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class NamedImage:
    """An image as a record names it.

    name: a path, a base name or a stem within the collection; None where there is only a URL. also: other names under
    which people keep the file, tried in order. data: the image file, where the record holds it. caption, captions,
    extra: as a Member has them.
    """

    name: str | None
    url: str | None = None
    also: tuple[str, ...] = ()
    data: bytes | None = None
    caption: str | None = None
    captions: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """One annotation of a record. annotator: who wrote it, None for the collection as a whole."""

    kind: str
    turns: tuple[Turn, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    annotator: str | None = None


@dataclass(frozen=True)
class Draft:
    """A record as images and annotations. record_id: what the set's id is made of.

    form: how the record was written, JSON data. split, concept: of the set. extra: what a record without annotations
    says besides its images.
    """

    record_id: str | None
    images: tuple[NamedImage, ...]
    said: tuple[Said, ...]
    form: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    concept: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def pick(record: Record, fields: Iterable[str]) -> list[Any]:
    """The values of these fields. Raises RecordRejected where one is missing."""
    names = list(fields)
    lacking = [name for name in names if name not in record]
    if lacking:
        raise RecordRejected("lacks a field", ", ".join(lacking))
    return [record[name] for name in names]


def require_text(value: object, what: str) -> str:
    """`value` if it is a text. Raises RecordRejected."""
    if not isinstance(value, str):
        raise RecordRejected("a field of another type", f"{what} is {type(value).__name__}, not a text")
    return value


def id_text(value: object) -> str | None:
    """A record's id as a text; None where it is neither a text nor a number, or empty."""
    return str(value) if isinstance(value, str | int) and value != "" else None


def rest_of(record: Record, known: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the fields that are not `known`, in their order; {} or {"fields": the names of all fields, in their order}).

    It is {} where the record has its fields in the order of `known`, followed by the others.
    """
    rest = {name: value for name, value in record.items() if name not in known}
    natural = [*(name for name in known if name in record), *rest]
    return rest, {} if natural == list(record) else {"fields": list(record)}


def in_order(known: Mapping[str, Any], rest: Mapping[str, Any], form: Record) -> dict[str, Any]:
    """The record of these fields, in the order that `rest_of` noted."""
    both = {**known, **rest}
    return {name: both[name] for name in form["fields"] if name in both} if "fields" in form else both


def require_unicode(draft: Draft) -> None:
    """Raise RecordRejected where a text has half a surrogate pair, which JSON can write but UTF-8 cannot.

    Likewise for what is nested so deeply that it could not be read again, and for values that are no JSON data.
    """
    texts = [text for image in draft.images for text in (image.name, image.url, image.caption, *image.captions) if text]
    texts += [part for said in draft.said for turn in said.turns for part in turn.parts if isinstance(part, str)]
    others: list[Any] = [draft.extra, draft.form, draft.record_id, draft.split, draft.concept]
    others += [each for said in draft.said for each in (said.content, said.annotator)]
    others += [image.extra for image in draft.images if image.extra]
    try:
        for text in texts:
            if not text.isascii():
                text.encode()
        written = json.dumps(others, ensure_ascii=False)
        written.encode()
    except UnicodeEncodeError as error:
        raise RecordRejected("a text that is no Unicode", f"character {error.object[error.start]!r}") from error
    except TypeError as error:
        raise RecordRejected("a value that is no JSON data", f"{error!s:.100}") from error
    except RecursionError as error:
        raise RecordRejected(TOO_DEEP) from error
    if written.count("[") + written.count("{") > DEEPEST and is_deep(others):
        raise RecordRejected(TOO_DEEP)


def is_deep(value: Any) -> bool:
    """Whether JSON data is nested more than 100 times, far below what Python's and other readers of JSON take."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, Mapping | list | tuple)
            for inner in (each.values() if isinstance(each, Mapping) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, Mapping | list | tuple) for each in level)


def named_image(name: str, **known: Any) -> NamedImage:
    """The image of a path or URL that a record has."""
    if "://" in name:
        return NamedImage(None, url=name, also=(_last(name),), **known)
    return NamedImage(name, **known)


def _last(url: str) -> str:
    return url.split("#")[0].split("?")[0].rstrip("/").rpartition("/")[2]


def marked_turn(role: str, text: str, first: int) -> Turn:
    """A turn from a text with markers, whose first `<image>` is the image at `first`."""
    return Turn(role, marked_parts(text, first))


def turn_text(parts: Iterable[Part]) -> str:
    """The text that `marked_turn` was made of."""
    return "".join(IMAGE if isinstance(part, int) else part for part in parts)


# How JSON or Python values are written into a text field, tried in this order.
_WRITERS: dict[str, Callable[[Any], str]] = {
    "python": repr,
    "json": json.dumps,
    "json-utf8": lambda value: json.dumps(value, ensure_ascii=False),
    "json-compact": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
}


def read_written(value: Any) -> tuple[Any, str | None]:
    """(value, how it was written) of a field that may hold a list as a text; (value, None) for any other value.

    Such lists are what pandas writes to Parquet: "['a.jpg', 'b.jpg']". A text that none of the usual writers makes is
    its own description.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value, None
    try:
        found = json.loads(value)
    except RecursionError:
        return value, None
    except ValueError:
        try:
            found = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value, None
    if not isinstance(found, list | dict):
        return value, None
    for name, write in _WRITERS.items():
        if write(found) == value:
            return found, name
    return found, value


def as_written(value: Any, how: str | None) -> Any:
    """The field that `read_written` read, written as it was."""
    if how is None:
        return value
    return _WRITERS[how](value) if how in _WRITERS else how


def without_nonfinite(value: Any) -> Any:
    """JSON data with null for NaN and the infinities, which JSON lacks."""
    try:
        json.dumps(value, allow_nan=False)
        return value
    except ValueError:
        pass
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_nonfinite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nonfinite(each) for each in value]
    return value
