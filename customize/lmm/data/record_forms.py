"""Records of instruction files as conversations: LLaVA's form (CaD-Inst has it too) and TRL's messages.

LLaVA: {"id", "image": name or list, "conversations": [{"from", "value"}]} with `<image>` in place. TRL: {"messages":
[{"role", "content"}], "images": [...]}, or "prompt" and "completion" instead of "messages". An image is a name in the
image folder, or the file itself as Hugging Face's data sets hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mining.sets.annotation import IMAGE
from mining.sets.importers.llava import parse_llava
from mining.sets.importers.record import Draft, RecordRejected, require_unicode
from mining.sets.importers.table import ColumnMap

__all__ = ["IMAGE_FIELDS", "parse_record"]

IMAGE_FIELDS = ("image", "images")
_IDS = ("id", "sample_id", "question_id")


def parse_record(record: Any) -> Draft:
    """The images and the conversation (`said[0].turns`) of a record. Raises RecordRejected."""
    if not isinstance(record, Mapping):
        raise RecordRejected("a record of another form", f"{type(record).__name__}, not an object")
    draft = parse_llava(_without_nulls(record)) if "conversations" in record else _messages(record)
    require_unicode(replace(draft, form={}, extra={}))
    return draft


def _messages(record: Mapping[str, Any]) -> Draft:
    messages = record.get("messages")
    if messages is None and "prompt" in record and "completion" in record:
        messages = [*_turns(record["prompt"], "user"), *_turns(record["completion"], "assistant")]
    if messages is None:
        raise RecordRejected("a record of another form", "it has no conversations, messages, or prompt and completion")
    image = next((name for name in IMAGE_FIELDS if record.get(name) is not None), None)
    known = next((name for name in _IDS if record.get(name) is not None), None)
    fields: dict[str, Any] = {"messages": messages}
    mapping = [("conversations", "messages")]
    if image is not None:
        fields[image] = record[image]
        mapping.append(("image", image))
        fields["messages"] = _with_places(messages, record[image])
    if known is not None:
        fields[known] = record[known]
        mapping.append(("id", known))
    return ColumnMap(tuple(mapping)).parse(fields)


def _turns(value: Any, role: str) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [{"role": role, "content": value}]


def _with_places(messages: Any, images: Any) -> Any:
    """Where the contents are texts without a marker, all images stand above the first question, as TRL puts them."""
    if not isinstance(messages, list | tuple) or not all(
        isinstance(each, Mapping) and isinstance(each.get("content"), str) for each in messages
    ):
        return messages
    if any(IMAGE in each["content"] for each in messages):
        return messages
    count = len(images) if isinstance(images, list | tuple) else 1
    first = next((place for place, each in enumerate(messages) if each.get("role") == "user"), None)
    if first is None:
        return messages
    asked = {**messages[first], "content": f"{IMAGE}\n" * count + messages[first]["content"]}
    return [*messages[:first], asked, *messages[first + 1 :]]


def _without_nulls(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A table gives every row all columns, with null where a record of text alone has no image."""
    return {name: value for name, value in record.items() if value is not None or name not in IMAGE_FIELDS}
