"""Whether a dataclass that was made from JSON data holds what its fields say, down to the last number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["check_fields"]

_MOST = 1 << 63
_KNOWN: dict[Any, dict[str, Any]] = {}


def check_fields(made: Any) -> None:
    """Raise ValueError, which names the field, for a value of another type or a number that no file of ours has.

    Such numbers are those below 0, not finite, or of 2^63 and more. What a mapping of `Any` holds is not looked at.
    """
    for name, kind in _hints(type(made)).items():
        value = getattr(made, name)
        if not _fits(value, kind):
            raise ValueError(f"{type(made).__name__}.{name} is {str(value)[:40]!r}")


def _hints(kind: Any) -> dict[str, Any]:
    if kind not in _KNOWN:  # Python works them out anew each time
        hints = get_type_hints(kind)
        _KNOWN[kind] = {field.name: hints[field.name] for field in fields(kind)}
    return _KNOWN[kind]


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, inner[1]) for each in value.values())
    if kind in (int, float):
        number = isinstance(value, int | kind) and not isinstance(value, bool)
        return number and 0 <= value < _MOST and math.isfinite(value)
    if not isinstance(value, kind):
        return False
    if is_dataclass(value):
        check_fields(value)
    return True
