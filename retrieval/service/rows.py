"""The metadata of results, as JSON that is ready to be sent: looked up in batches, remembered up to a bound.

A row's metadata never changes while a store is open (forgetting hides it, and forgotten rows are asked for by nobody
but `GET /rows/{id}`, which checks), so what was looked up once can be sent again. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from index.store import EmbeddingStore

__all__ = ["RowLookup", "as_row"]

# A fragment's own size and what the dict around it takes, measured with sys.getsizeof: 33 + 150 bytes.
_OVERHEAD = 200


def as_row(fragment: bytes) -> dict[str, Any]:
    """A fragment as a dict: the columns that were asked for."""
    row: dict[str, Any] = orjson.loads(b"{" + fragment + b"}")
    return row


class RowLookup:
    """Fragments of JSON objects, `"key":"k1","caption":"..."` without the braces, by row id and columns."""

    def __init__(self, store: EmbeddingStore, cache_bytes: int) -> None:
        self._store = store
        self._limit = cache_bytes
        self._size = 0
        self._known: OrderedDict[tuple[tuple[str, ...], int], bytes] = OrderedDict()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="lookup")

    async def fragments(self, row_ids: Sequence[int], columns: tuple[str, ...]) -> dict[int, bytes]:
        """The fragment of each row id. Raises BadInput for a column that the store doesn't have."""
        known = self._known
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for row in row_ids:
            fragment = known.get((columns, row))
            if fragment is None:
                missing.append(row)
            else:
                found[row] = fragment
        if missing:
            wanted = list(dict.fromkeys(missing))
            looked_up = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, wanted, columns)
            for row, fragment in zip(wanted, looked_up, strict=True):
                found[row] = fragment
                self._remember((columns, row), fragment)
        return found

    def close(self) -> None:
        self._threads.shutdown()

    def _read(self, row_ids: list[int], columns: tuple[str, ...]) -> list[bytes]:
        if not columns:
            return [b""] * len(row_ids)
        table = self._store.metadata(row_ids, list(columns))
        values = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
        return [orjson.dumps(dict(zip(columns, row, strict=True)), default=str)[1:-1] for row in values]

    def _remember(self, key: tuple[tuple[str, ...], int], fragment: bytes) -> None:
        size = len(fragment) + _OVERHEAD
        if size > self._limit or key in self._known:
            return
        self._known[key] = fragment
        self._size += size
        while self._size > self._limit:  # the oldest look-up goes; keeping the order of use would cost every hit
            _, gone = self._known.popitem(last=False)
            self._size -= len(gone) + _OVERHEAD
