"""Look-up files: uncompressed copies of the metadata columns that results show, for fast reading of single rows.

    STORE/lookup/lookup_0000.arrow      Arrow IPC, one record batch: the rows of consecutive parts, up to 1,000,000

Parquet decodes a row group of 1,000 rows for each row asked for: 40 rows of 50,000 took 8.7 ms that way and 0.1 ms this
way. `clipmine index` writes these files; a store without them is read through Parquet. Each file records the metadata
files that it was made from; a file that is out of date is ignored. An adopted table's other columns are there too, such
as LAION's NSFW, which clip-retrieval's clients always ask for. `captions`, `extra`, nested columns and columns of long
texts stay in Parquet only.
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

from index.errors import StoreInvalid
from index.files import as_path, atomic_file, exists, is_local, make_folder, open_file, remove
from index.local_copy import current_copy
from index.store.metadata import MetadataFiles, column_type
from index.store.store_manifest import Manifest, read_manifest

__all__ = [
    "LOOKUP_COLUMNS",
    "Lookup",
    "LookupItem",
    "build_lookup",
    "is_lookup_done",
    "lookup_file",
    "plan_lookups",
    "remove_lookups",
]

LOOKUP_COLUMNS = ("key", "shard", "offset", "size", "caption", "url", "width", "height", "sha256")
# Rows of a file at most: 400 million rows make 400 files, few enough to keep all open.
LOOKUP_ROWS = 1_000_000
# Files kept open; each holds a file descriptor, of which a process may have 1,024 by default.
OPEN_LOOKUPS = 400
# Bytes a row that an adopted table's other column may take on average: enough for a label, a licence or a hash.
OTHER_BYTES = 64
_BATCH_ROWS = 65_536
_MADE_FROM = b"clipmine.made_from"


@dataclass(frozen=True)
class LookupItem:
    """One look-up file: parts first .. last - 1, which hold the rows first_row .. first_row + rows - 1."""

    first: int
    last: int
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        """The file's name without its ending."""
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


def build_lookup(item: LookupItem, store: str) -> int:
    """Write one look-up file of the store at `store`; return its rows. Raises StoreInvalid for damaged metadata."""
    path, manifest = as_path(store), read_manifest(store)
    metadata = MetadataFiles(path, manifest)
    parts, names = range(item.first, item.last), [*LOOKUP_COLUMNS, *_other_columns(manifest)]
    tables = [table for part in parts for table in metadata.batches(part, names, _BATCH_ROWS)]
    # Texts of a million rows can be longer than the 2 GiB that 32-bit offsets reach.
    fields = [pa.field(name, column_type(manifest, name)) for name in names]
    wide = [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in fields]
    table = pa.concat_tables(tables).cast(pa.schema(wide)).combine_chunks()
    long = [name for name in names[len(LOOKUP_COLUMNS) :] if table[name].nbytes > OTHER_BYTES * max(1, item.rows)]
    table = table.drop_columns(long).replace_schema_metadata({_MADE_FROM: _made_from(manifest, item)})
    schema = table.schema
    target = lookup_file(path, item)
    make_folder(target.parent)
    with atomic_file(target) as partial, pa.OSFile(fspath(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for batch in table.to_batches():  # one; none for a table without rows
            out.write_batch(batch)
    return item.rows


def is_lookup_done(item: LookupItem, path: Path, manifest: Manifest) -> bool:
    """Whether the item's file exists and was made from the metadata that the store at `path` has now."""
    if is_local(path):
        return _open_lookup(path, manifest, item) is not None
    try:
        with open_file(lookup_file(path, item)) as stream:  # its schema only: a copy takes a hundred megabytes
            return _is_made_from(pa.ipc.open_file(stream), manifest, item)
    except (OSError, pa.ArrowException):
        return False


def remove_lookups(path: Path, manifest: Manifest, parts: Sequence[int]) -> list[LookupItem]:
    """Delete the look-up files that hold rows of `parts` and return their items; call it before `parts` change."""
    removed = []
    for item in plan_lookups(manifest):
        file = lookup_file(path, item)
        if any(item.first <= part < item.last for part in parts) and exists(file):
            remove(file)
            removed.append(item)
    return removed


class Lookup:
    """The look-up files of an open store. Safe for threads."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path, self._manifest = path, manifest
        self._items = plan_lookups(manifest)
        self._columns = {*LOOKUP_COLUMNS, *_other_columns(manifest)}
        self._starts = np.array([item.first_row for item in self._items], dtype=np.int64)
        self._open: OrderedDict[int, Any] = OrderedDict()  # record batches; None for a missing or invalid file
        self._lock = threading.Lock()

    def read(self, ids: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table | None:
        """The rows `ids` (of the store, in any order); None when a column or a row has no valid look-up file."""
        if not len(ids) or not set(columns) <= self._columns:
            return None
        files = np.searchsorted(self._starts, ids, side="right") - 1
        order = np.argsort(files, kind="stable")
        pieces = []
        for run in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            number = int(files[run[0]])
            batch = self._batch(number)
            if batch is None or not set(columns) <= set(batch.schema.names):
                return None
            positions = pa.array(ids[run] - self._starts[number])
            # Column by column: RecordBatch.take would copy all columns.
            pieces.append([batch.column(name).take(positions) for name in columns])
        arrays = [
            _narrow([piece[place] for piece in pieces], column_type(self._manifest, name))
            for place, name in enumerate(columns)
        ]
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
        batch = _open_lookup(self._path, self._manifest, self._items[number])
        with self._lock:
            self._open[number] = batch
            while len(self._open) > OPEN_LOOKUPS:
                self._open.popitem(last=False)
        return batch


def _narrow(pieces: list[Any], wanted: Any) -> Any:
    """Pieces of a column as one, in the metadata's own type."""
    column = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
    return column if column.type == wanted else column.cast(wanted)


def _other_columns(manifest: Manifest) -> list[str]:
    """The other columns of an adopted table that a look-up file may hold: texts, numbers and truth values."""
    found = {name: column_type(manifest, name) for name in manifest.other_columns}
    return [name for name, of in found.items() if pa.types.is_string(of) or pa.types.is_primitive(of)]


def lookup_file(path: Path, item: LookupItem) -> Path:
    """Path of an item's file in the store at `path`."""
    return path / "lookup" / f"{item.name}.arrow"


def _made_from(manifest: Manifest, item: LookupItem) -> bytes:
    """What decides a look-up file's content: the metadata files of its parts."""
    parts = manifest.parts[item.first : item.last]
    files = [part.files["metadata"] for part in parts]
    # The sample of an adopted file stands before its SHA-256, which may be recorded later.
    records = [
        (part.name, part.rows, file.size, file.sample or file.sha256) for part, file in zip(parts, files, strict=True)
    ]
    # 1: version of this layout
    return json.dumps([1, [*LOOKUP_COLUMNS, *_other_columns(manifest)], records]).encode()


def _open_lookup(path: Path, manifest: Manifest, item: LookupItem) -> Any:
    """The file's record batch, memory-mapped; None when the file is missing, damaged or out of date."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(fspath(current_copy(lookup_file(path, item)))))
        if not _is_made_from(reader, manifest, item):
            return None
        batch = reader.get_batch(0)
    except (OSError, pa.ArrowException, StoreInvalid):
        return None
    return batch if batch.num_rows == item.rows else None


def _is_made_from(reader: Any, manifest: Manifest, item: LookupItem) -> bool:
    source = (reader.schema.metadata or {}).get(_MADE_FROM)
    return bool(source == _made_from(manifest, item) and reader.num_record_batches == 1)
