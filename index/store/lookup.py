"""Look-up files: the metadata of single rows at the price of a few memory reads.

    STORE/lookup/lookup_0000.arrow      Arrow IPC, one record batch: a run of parts, up to 1,000,000 rows

Parquet has to decode a row group of 1,000 rows for each row that is asked for: 40 rows of 50,000 took 8.7 ms that
way, 0.1 ms this way. `clipmine index` writes these files; a store without them is read as before. Each says which
metadata files it was made from, and one that is out of date is passed over. What is rarely shown of a result
(`captions`, `extra`, a foreign table's own columns) stays in Parquet alone. `index.store.build_lookup` writes them. Knows
nothing of embeddings and forgetting.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.store.metadata import METADATA_SCHEMA
from index.store.store_manifest import Manifest

__all__ = [
    "LOOKUP_COLUMNS",
    "MADE_FROM",
    "Lookup",
    "LookupItem",
    "lookup_file",
    "made_from",
    "open_lookup",
    "plan_lookups",
    "remove_lookups",
]

LOOKUP_COLUMNS = ("key", "shard", "offset", "size", "caption", "url", "width", "height", "sha256")
# Of a file: 400 million rows make 400 files, few enough to be open all at once.
LOOKUP_ROWS = 1_000_000
# Kept open; each holds a file descriptor, of which a process may have 1,024 by default.
OPEN_LOOKUPS = 400
MADE_FROM = b"clipmine.made_from"


@dataclass(frozen=True)
class LookupItem:
    """One look-up file: of the parts first .. last - 1, the rows first_row .. first_row + rows - 1."""

    first: int
    last: int
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        return f"lookup_{self.first:04d}"


def plan_lookups(manifest: Manifest) -> list[LookupItem]:
    """The look-up files of a store, in the order of their rows."""
    items: list[LookupItem] = []
    for number, part in enumerate(manifest.parts):
        if items and items[-1].rows + part.rows <= LOOKUP_ROWS:
            run = items.pop()
            items.append(LookupItem(run.first, number + 1, run.first_row, run.rows + part.rows))
        else:
            items.append(LookupItem(number, number + 1, part.first_row, part.rows))
    return items


def remove_lookups(path: Path, manifest: Manifest, parts: Sequence[int]) -> list[LookupItem]:
    """Delete the files that hold rows of `parts`, before these are overwritten; return those that were there."""
    removed = []
    for item in plan_lookups(manifest):
        file = lookup_file(path, item)
        if any(item.first <= part < item.last for part in parts) and file.exists():
            file.unlink()
            removed.append(item)
    return removed


class Lookup:
    """The look-up files of an open store. Safe for threads."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path, self._manifest = path, manifest
        self._items = plan_lookups(manifest)
        self._starts = np.array([item.first_row for item in self._items], dtype=np.int64)
        self._open: OrderedDict[int, Any] = OrderedDict()  # record batches; None where there is no valid file
        self._lock = threading.Lock()

    def read(self, ids: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table | None:
        """The rows `ids` (there, any order) as a table; None when a column or a row's file is not here."""
        if not len(ids) or not set(columns) <= set(LOOKUP_COLUMNS):
            return None
        files = np.searchsorted(self._starts, ids, side="right") - 1
        order = np.argsort(files, kind="stable")
        pieces = []
        for run in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            number = int(files[run[0]])
            batch = self._batch(number)
            if batch is None:
                return None
            positions = pa.array(ids[run] - self._starts[number])
            # Column by column: RecordBatch.take would copy those that nobody asked for.
            pieces.append([batch.column(name).take(positions) for name in columns])
        arrays = [_narrow(name, [piece[place] for piece in pieces]) for place, name in enumerate(columns)]
        table = pa.table(arrays, names=list(columns))
        if len(pieces) == 1:
            return table  # a stable sort of equal numbers leaves the order as it was
        back = np.empty(len(ids), dtype=np.int64)
        back[order] = np.arange(len(ids))
        return table.take(pa.array(back))

    def _batch(self, number: int) -> Any:
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
        item = self._items[number]
        batch = open_lookup(lookup_file(self._path, item), made_from(self._manifest, item), item.rows)
        with self._lock:
            self._open[number] = batch
            while len(self._open) > OPEN_LOOKUPS:
                self._open.popitem(last=False)
        return batch


def _narrow(name: str, pieces: list[Any]) -> Any:
    """Pieces of a column as one, in the metadata's own type."""
    column = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
    wanted = METADATA_SCHEMA.field(name).type
    return column if column.type == wanted else column.cast(wanted)


def lookup_file(path: Path, item: LookupItem) -> Path:
    """Where an item's file is in the store at `path`."""
    return path / "lookup" / f"{item.name}.arrow"


def made_from(manifest: Manifest, item: LookupItem) -> bytes:
    """What decides a look-up file: the metadata files of its parts."""
    parts = manifest.parts[item.first : item.last]
    records = [(part.name, part.rows, part.files["metadata"].size, part.files["metadata"].sha256) for part in parts]
    return json.dumps([1, LOOKUP_COLUMNS, records]).encode()  # 1: of this layout


def open_lookup(path: Path, source: bytes, rows: int) -> Any:
    """The record batch of the file, memory-mapped; None when it is missing, damaged, or not made from `source`."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(fspath(path)))
        if (reader.schema.metadata or {}).get(MADE_FROM) != source or reader.num_record_batches != 1:
            return None
        batch = reader.get_batch(0)
    except (OSError, pa.ArrowException):
        return None
    return batch if batch.num_rows == rows else None
