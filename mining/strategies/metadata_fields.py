"""Dotted fields of the metadata, such as `truth.objects.entity`: in a column of that name, or in the JSON of `extra`.

A list on the way contributes all its elements, so a field may have several values in one row. Text that holds JSON is
parsed.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.minable import Minable

__all__ = ["field_column", "field_values", "fields_there", "row_values", "words_below"]

Value = str | int | float


def field_column(store: EmbeddingStore, field: str) -> str:
    """The metadata column that holds `field`: the one named by its first word, or else `extra`.

    Raises BadInput for a field with an empty word.
    """
    words = field.split(".")
    if not all(words):
        raise BadInput(f"field {field!r}: is not a dotted field, as in truth.objects.entity")
    columns = store.metadata([0], None).column_names
    return words[0] if words[0] in columns and words[0] != "extra" else "extra"


def row_values(table: pa.Table, column: str, field: str) -> list[list[Value]]:
    """The distinct values of `field` for each row of `table`, in their order."""
    words = words_below(field, column)
    return [list(dict.fromkeys(field_values(value, words))) for value in table[column].to_pylist()]


def words_below(field: str, column: str) -> list[str]:
    """The words of a dotted field that lead to its value within the metadata column that `field_column` gave."""
    words = field.split(".")
    return words[1:] if column != "extra" or words[0] == "extra" else words


def field_values(value: Any, words: list[str]) -> list[Value]:
    """All texts and numbers that the dotted words lead to in JSON data."""
    if isinstance(value, list):
        return [found for each in value for found in field_values(each, words)]
    if words and isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return []
        return field_values(value, words)
    if not words:
        return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "" else []
    return field_values(value[words[0]], words[1:]) if isinstance(value, dict) and words[0] in value else []


def fields_there(minable: Minable) -> str:
    """A phrase for an error message that lists the fields of the first rows."""
    rows = minable.rows(0, min(minable.count, 100))
    fields: set[str] = set()

    def walk(value: object, name: str) -> None:
        if isinstance(value, list):
            for each in value:
                walk(each, name)
        elif isinstance(value, dict):
            for key, each in value.items():
                walk(each, f"{name}.{key}" if name else key)
        elif value is not None:
            fields.add(name)

    for text in minable.store.metadata(rows, ["extra"])["extra"].to_pylist():
        walk(json.loads(text) if text else {}, "")
    shown = ", ".join(sorted(fields)[:20])
    return f"the fields of its first rows are: {shown}" if shown else "its metadata has no fields of its own"
