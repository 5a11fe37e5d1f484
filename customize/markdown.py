"""Markdown of cards and results: tables, and lists of named values. No text can break out of its cell or line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["inline", "markdown_list", "markdown_table"]


def markdown_table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table that ends with a line break. Cells are shown by `str`."""
    lines = [_line(header), "|" + "---|" * len(header), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def markdown_list(values: Any) -> str:
    """Named values as a list, `_` in names as a space; another value as a line. Ends with a line break."""
    if not isinstance(values, Mapping):
        return f"{inline(values)}\n"
    return "\n".join(f"- {str(name).replace('_', ' ')}: {inline(value)}" for name, value in values.items()) + "\n"


def inline(value: Any) -> str:
    """A value on one line: mappings and lists as JSON in code marks, floats with six digits, the others by `str`."""
    if isinstance(value, Mapping | list | tuple):
        return f"`{json.dumps(value)}`"
    return _one_line(f"{value:.6g}" if isinstance(value, float) else str(value))


def _line(cells: Sequence[Any]) -> str:
    texts = [_one_line(str(cell)).replace("|", "\\|") for cell in cells]
    return "|" + "".join(f" {text} |" if text else " |" for text in texts)


def _one_line(text: str) -> str:
    return " ".join(text.split())
