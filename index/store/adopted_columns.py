"""The metadata columns of an adopted store: which one is which of ours, and one type for each in all parts.

Parts that different workers wrote differ: a column that is text in one is null, a number or absent in another. Readers
see one type, and null where a part has nothing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from index.errors import StoreInvalid
from index.store.metadata import FOREIGN_NAMES, METADATA_SCHEMA

__all__ = ["ColumnUnion"]


class ColumnUnion:
    """The columns of all parts; `add` each part's schema in order, then read `columns` and `other_columns`."""

    def __init__(self) -> None:
        self._types: dict[str, dict[Any, Path]] = {}  # a column's types, each with the first file that has it

    def add(self, file: Path, schema: pa.Schema) -> None:
        """Take in the schema of one part's file; StoreInvalid when a column is in it twice."""
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
        if twice:
            raise StoreInvalid(f"{file}: has the column {twice[0]!r} {schema.names.count(twice[0])} times; rename one")
        for field in schema:
            self._types.setdefault(field.name, {}).setdefault(field.type, file)

    @property
    def columns(self) -> dict[str, str]:
        """Our name of a column -> its own name in the first parts that have it."""
        found = {ours: [name for name in theirs if name in self._types] for ours, theirs in FOREIGN_NAMES.items()}
        return {ours: theirs[0] for ours, theirs in found.items() if theirs}

    @property
    def other_columns(self) -> dict[str, str]:
        """The columns without a name of ours -> the type that readers give them, as Arrow names it.

        Raises:
            StoreInvalid: the types of a nested column do not fit together; names the column and two files.
        """
        taken = {*self.columns.values(), *METADATA_SCHEMA.names}
        return {name: str(_common_type(name, types)) for name, types in self._types.items() if name not in taken}


def _common_type(name: str, types: dict[Any, Path]) -> Any:
    """One type for values of several: numbers become wider ones, other simple types text."""
    plain = {_simple(of): file for of, file in types.items() if not pa.types.is_null(of)}
    if len(plain) < 2:
        return next(iter(plain), pa.string())
    if all(pa.types.is_integer(of) for of in plain):
        return pa.int64()
    if all(pa.types.is_integer(of) or pa.types.is_floating(of) for of in plain):
        return pa.float64()
    nested = [of for of in plain if pa.types.is_nested(of)]
    if not nested:
        return pa.string()
    try:
        fields = [pa.schema([pa.field(name, of)]) for of in plain]
        return pa.unify_schemas(fields, promote_options="permissive").field(name).type
    except pa.ArrowException as error:
        (one, first), (other, second) = list(plain.items())[:2]
        raise StoreInvalid(
            f"{second}: its column {name!r} is {other}, that of {first.name} {one}; these cannot be read together: "
            "convert the column, or remove it from one of them"
        ) from error


def _simple(of: Any) -> Any:
    """A type without its storage: text is text however it is encoded."""
    if pa.types.is_dictionary(of):
        of = of.value_type
    return pa.string() if pa.types.is_large_string(of) or pa.types.is_string_view(of) else of
