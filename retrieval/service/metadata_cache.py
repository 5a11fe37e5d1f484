"""The metadata of results, as JSON that is ready to be sent: read in batches and cached up to a size in bytes.

A row's metadata does not change while a store is open, so cached JSON can be sent again. Forgotten rows are never
results, and `GET /rows/{id}` checks for them before it asks here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import orjson

from index.store.embedding_store import EmbeddingStore
from retrieval.service.limits import OverLimit
from retrieval.service.settings import Settings
from retrieval.service.threads import SMALL, run_to_end

__all__ = ["RowLookup", "as_row"]

# Bytes that Python takes for a fragment beside its text: 33 of the object, 120 of the dict (sys.getsizeof).
_OVERHEAD = 160
ROWS_AT_ONCE = 2_000  # read by one call of a thread


def as_row(fragment: bytes) -> dict[str, Any]:
    """A fragment as a dict of the columns that were asked for."""
    row: dict[str, Any] = orjson.loads(b"{" + fragment[1:] + b"}")
    return row


class RowLookup:
    """Reads metadata as fragments of JSON objects, such as `,"key":"k1","caption":"..."`, to append to other fields."""

    def __init__(self, store: EmbeddingStore, settings: Settings, pool: Executor) -> None:
        self._store, self._settings, self._pool = store, settings, pool
        self._size = 0
        self._known: dict[tuple[str, ...], dict[int, bytes]] = {}
        self._writing = threading.Lock()

    async def fragments(self, row_ids: Sequence[int], columns: tuple[str, ...]) -> dict[int, bytes]:
        """`read` in the pool, some rows at a time, or at once where all rows are known and few.

        Raises OverLimit when the fragments are more than `Settings.max_answer_bytes`.
        """
        if len(row_ids) <= SMALL:
            known = self._known.get(columns, {})
            found = {row: known[row] for row in row_ids if row in known}
            if all(row in found for row in row_ids):
                return found
            return await run_to_end(self._pool, self.read, row_ids, columns)
        found, size, most = {}, 0, self._settings.max_answer_bytes
        for start in range(0, len(row_ids), ROWS_AT_ONCE):
            asked = row_ids[start : start + ROWS_AT_ONCE]
            some = await run_to_end(self._pool, self.read, asked, columns)
            size += sum(len(some[row]) for row in asked)  # a row that several queries find is sent for each
            if size > most:
                raise OverLimit(
                    "max_answer_bytes",
                    f"the metadata of {len(row_ids):,} rows has more than {most:,} bytes; ask for fewer rows",
                )
            found |= some
        return found

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

    def _read(self, row_ids: list[int], columns: tuple[str, ...]) -> list[bytes]:
        if not columns:
            return [b""] * len(row_ids)
        rows = self._store.metadata(row_ids, list(columns)).to_pylist()
        return [b"," + orjson.dumps(row, default=str)[1:-1] for row in rows]

    def _remember(self, columns: tuple[str, ...], new: dict[int, bytes]) -> None:
        with self._writing:
            if columns not in self._known:
                self._size += _OVERHEAD + sum(map(len, columns))
            self._size += sum(map(len, new.values())) + _OVERHEAD * len(new)
            if (
                self._size > self._settings.cache_bytes
            ):  # all are dropped: keeping an order of use would cost more than it saves
                self._known, self._size = {}, 0
                return
            self._known.setdefault(columns, {}).update(new)
