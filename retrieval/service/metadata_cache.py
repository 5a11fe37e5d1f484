"""The metadata of results, as JSON that is ready to be sent: read in batches and cached up to a size in bytes.

A row's metadata does not change while a store is open, so cached JSON can be sent again. Forgotten rows are never
results, and `GET /rows/{id}` checks for them before it asks here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from index.store.embedding_store import EmbeddingStore
from retrieval.service.threads import SMALL, run_to_end

__all__ = ["RowLookup", "as_row"]

# Bytes that Python takes for a fragment beside its text: 33 of the object, 120 of the dict (sys.getsizeof).
_OVERHEAD = 160


def as_row(fragment: bytes) -> dict[str, Any]:
    """A fragment as a dict of the columns that were asked for."""
    row: dict[str, Any] = orjson.loads(b"{" + fragment[1:] + b"}")
    return row


class RowLookup:
    """Reads metadata as fragments of JSON objects, such as `,"key":"k1","caption":"..."`, to append to other fields."""

    def __init__(self, store: EmbeddingStore, cache_bytes: int) -> None:
        self._store = store
        self._limit = cache_bytes
        self._size = 0
        self._known: dict[tuple[str, ...], dict[int, bytes]] = {}
        self._writing = threading.Lock()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="lookup")

    async def fragments(self, row_ids: Sequence[int], columns: tuple[str, ...]) -> dict[int, bytes]:
        """`read` in a thread, or at once where all rows are known and few."""
        if len(row_ids) <= SMALL:
            known = self._known.get(columns, {})
            found = {row: known[row] for row in row_ids if row in known}
            if all(row in found for row in row_ids):
                return found
        return await run_to_end(self._threads, self.read, row_ids, columns)

    def read(self, row_ids: Sequence[int], columns: tuple[str, ...]) -> dict[int, bytes]:
        """The fragment of each row id. Raises BadInput for a column that the store doesn't have."""
        known = self._known.get(columns, {})
        found: dict[int, bytes] = {}
        wanted = []
        for row in dict.fromkeys(row_ids):
            fragment = known.get(row)
            if fragment is None:
                wanted.append(row)
            else:
                found[row] = fragment
        if wanted:
            new = dict(zip(wanted, self._read(wanted, columns), strict=True))
            self._remember(columns, new)
            found |= new
        return found

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _read(self, row_ids: list[int], columns: tuple[str, ...]) -> list[bytes]:
        if not columns:
            return [b""] * len(row_ids)
        rows = self._store.metadata(row_ids, list(columns)).to_pylist()
        return [b"," + orjson.dumps(row, default=str)[1:-1] for row in rows]

    def _remember(self, columns: tuple[str, ...], new: dict[int, bytes]) -> None:
        with self._writing:
            self._size += sum(map(len, new.values())) + _OVERHEAD * len(new)
            if self._size > self._limit:  # all are dropped: keeping an order of use would cost more than it saves
                self._known, self._size = {}, 0
                return
            self._known.setdefault(columns, {}).update(new)
