"""Finding rows of a store by their metadata: keys, URLs or SHA-256 sums in, row ids out, in one pass over the columns.

Values are compared exactly after the blanks at both ends are removed; SHA-256 sums also whatever their case. Rows that
are forgotten and not compacted yet are found too. Memory: the values that are looked for, and about 200 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.store.embedding_store import EmbeddingStore

__all__ = ["FoundRows", "Named", "find_rows"]

Named = Literal["key", "url", "sha256"]
# Rows that are compared at a time. Each comparison hashes all values that are looked for, so blocks of one part would
# hash a million opt-outs again for every 10,000 rows.
_BLOCK_ROWS = 500_000


@dataclass(frozen=True)
class FoundRows:
    """What was found of one column. rows: ascending int64 row ids; missing: the values that no row has, in order.

    any_value: whether any row of the store has a value in that column.
    """

    rows: npt.NDArray[np.int64]
    missing: tuple[str, ...]
    any_value: bool


def find_rows(store: EmbeddingStore, wanted: Mapping[Named, Iterable[str]]) -> dict[Named, FoundRows]:
    """The rows with each column's values; all rows of a value that several have. Each value counts once."""
    searches = [_Search(name, values) for name, values in wanted.items()]
    if not searches:
        return {}
    block: list[pa.Table] = []
    first = rows = 0
    for row, table in store.iter_metadata([search.name for search in searches], include_forgotten=True):
        if rows and rows + table.num_rows > _BLOCK_ROWS:
            _look(searches, first, block)
            block, rows = [], 0
        first = row if not rows else first
        block.append(table)
        rows += table.num_rows
    _look(searches, first, block)
    return {search.name: search.result() for search in searches}


class _Search:
    """The values that are looked for in one column, and what was found so far."""

    def __init__(self, name: Named, values: Iterable[str]) -> None:
        self.name = name
        self.asked: dict[str, str] = {}  # normal form -> as it was given first
        for value in values:
            self.asked.setdefault(_normal(name, value), value)
        self.values = pa.array(list(self.asked), pa.string())
        self.found: set[str] = set()
        self.rows: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.any_value = False

    def look(self, first_row: int, column: Any) -> None:
        """Compare a column of consecutive rows, the first of which is `first_row`."""
        self.any_value = self.any_value or column.null_count < len(column)
        own = pc.utf8_trim_whitespace(column)
        own = pc.ascii_lower(own) if self.name == "sha256" else own
        mask = pc.is_in(own, value_set=self.values)
        here = np.flatnonzero(mask.to_numpy(zero_copy_only=False) if isinstance(mask, pa.Array) else mask.to_numpy())
        if len(here):
            self.rows.append(here.astype(np.int64) + first_row)
            self.found.update(own.filter(mask).unique().to_pylist())

    def result(self) -> FoundRows:
        missing = tuple(given for normal, given in self.asked.items() if normal not in self.found)
        return FoundRows(np.concatenate(self.rows), missing, self.any_value)


def _look(searches: list[_Search], first_row: int, block: list[pa.Table]) -> None:
    if block:
        table = pa.concat_tables(block)
        for search in searches:
            search.look(first_row, table[search.name])


def _normal(name: Named, value: str) -> str:
    return value.strip().lower() if name == "sha256" else value.strip()
