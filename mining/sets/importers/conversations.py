"""Conversations as foreign files write them, and as turns.

LLaVA's `conversations`: [{"from": "human", "value": "<image>\\nWhat is this?"}, {"from": "gpt", "value": "A bus."}].
Chat messages: [{"role": "user", "content": "..."}], where content may also be a list of {"type": "image"} and
{"type": "text", "text": ...}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mining.sets.annotation import IMAGE, Part, Turn
from mining.sets.importers.record import RecordRejected, marked_turn, require_text, turn_text

__all__ = ["COUNT_REASON", "read_turns", "write_turns"]

COUNT_REASON = "as many <image> markers as images are needed"
_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
# (name of the speaker's field, of the text's field) -> the usual word for each role.
_USUAL = {
    ("from", "value"): {"user": "human", "assistant": "gpt", "system": "system"},
    ("role", "content"): {"user": "user", "assistant": "assistant", "system": "system"},
}


def read_turns(value: Any, images: int) -> tuple[tuple[Turn, ...], dict[str, Any]]:
    """(turns, form) of a conversation about `images` images; `write_turns(turns, form)` gives the conversation back.

    Raises RecordRejected for another form, an unknown role, or another number of markers than images.
    """
    if not isinstance(value, list | tuple) or not value:
        raise RecordRejected("has no conversation", f"{type(value).__name__}")
    keys = next((keys for keys in _USUAL if isinstance(value[0], Mapping) and set(keys) <= set(value[0])), None)
    if keys is None:
        raise RecordRejected("a conversation of another form", "turns have `from` and `value`, or `role` and `content`")
    turns: list[Turn] = []
    form: dict[str, Any] = {} if keys == ("from", "value") else {"keys": list(keys)}
    seen = 0
    for number, each in enumerate(value):
        if not isinstance(each, Mapping) or not set(keys) <= set(each):
            raise RecordRejected("a conversation of another form", f"turn {number + 1} lacks {' or '.join(keys)}")
        speaker, said = require_text(each[keys[0]], keys[0]), each[keys[1]]
        role = _ROLES.get(speaker)
        if role is None:
            raise RecordRejected("an unknown role", f"{speaker!r:.40}; the roles are {', '.join(_ROLES)}")
        if isinstance(said, list | tuple):
            turn = Turn(role, _parts(said, seen))
            form.setdefault("lists", []).append(number)
            if said and any(value is None for piece in said if isinstance(piece, Mapping) for value in piece.values()):
                form["piece_fields"] = list(said[0])
        else:
            turn = marked_turn(role, require_text(said, keys[1]), seen)
        seen += len(turn.images)
        turns.append(turn)
        if speaker != _USUAL[keys][role]:
            form.setdefault("speakers", {})[str(number)] = speaker
        if list(each) != list(keys):
            form.setdefault("turns", {})[str(number)] = {
                name: None if name in keys else each[name] for name in each
            }  # all names in their order, with the values of those that turns do not have
    if not images:
        # A content list has its images as pieces. Without any, a marker in its texts means that the images are lost.
        seen += sum(turn.text.count(IMAGE) for turn in turns)
    if seen != images:
        raise RecordRejected(COUNT_REASON, f"{seen} markers, {images} images")
    return tuple(turns), form


def write_turns(turns: Sequence[Turn], form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation that `read_turns` read."""
    keys = tuple(form.get("keys", ("from", "value")))
    found = []
    for number, turn in enumerate(turns):
        speaker = form.get("speakers", {}).get(str(number)) or _USUAL[keys[0], keys[1]][turn.role]
        said: Any = turn_text(turn.parts)
        if number in form.get("lists", ()):
            said = [_piece(part, form.get("piece_fields")) for part in turn.parts]
        own = {keys[0]: speaker, keys[1]: said}
        found.append({**form.get("turns", {}).get(str(number), {}), **own})
    return found


def _parts(said: Sequence[Any], first: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    for piece in said:
        if isinstance(piece, Mapping):
            # Parquet gives every piece all fields, null where it has none.
            known = {name: value for name, value in piece.items() if value is not None}
            if known == {"type": "image"}:
                parts.append(first + sum(isinstance(part, int) for part in parts))
                continue
            if set(known) == {"type", "text"} and known["type"] == "text" and isinstance(known["text"], str):
                parts.append(known["text"])
                continue
        raise RecordRejected("a conversation of another form", 'a content list has {"type": "image"} and texts')
    return tuple(parts)


def _piece(part: Part, fields: Sequence[str] | None) -> dict[str, Any]:
    own: dict[str, Any] = {"type": "image"} if isinstance(part, int) else {"type": "text", "text": part}
    return own if fields is None else {name: own.get(name) for name in fields}
