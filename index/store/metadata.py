"""A store's metadata in Parquet files: its columns, writing it, and reading single rows from many parts."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import BadInput, StoreInvalid
from index.store.part_files import part_file
from index.store.store_manifest import Manifest

__all__ = [
    "FOREIGN_NAMES",
    "METADATA_SCHEMA",
    "REJECTS_SCHEMA",
    "MetadataFiles",
    "column_type",
    "join_parts",
    "parquet_bytes",
]

METADATA_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),  # relative to the corpus root
        ("offset", pa.int64()),  # of the image bytes in the shard
        ("size", pa.int64()),
        ("caption", pa.string()),  # the text that was embedded
        ("captions", pa.list_(pa.string())),
        ("url", pa.string()),
        ("width", pa.int32()),  # of the whole image, with EXIF rotation applied
        ("height", pa.int32()),
        ("sha256", pa.string()),  # of the image bytes, hex
        ("text_tokens_cut", pa.bool_()),  # the caption is longer than the text tower's context
        ("extra", pa.string()),  # a JSON object: the side-car's other fields
    ]
)
REJECTS_SCHEMA = pa.schema(
    [("key", pa.string()), ("shard", pa.string()), ("stage", pa.string()), ("reason", pa.string())]
)
# The names of our columns in the tables of clip-retrieval, img2dataset and LAION; the first one that exists is used.
FOREIGN_NAMES: Mapping[str, tuple[str, ...]] = {
    "key": ("key", "image_path", "id"),
    "caption": ("caption", "TEXT", "text"),
    "url": ("url", "URL"),
    "width": ("width", "WIDTH"),
    "height": ("height", "HEIGHT"),
}

# Rows that must be decoded to read one row. With 1,000, the footer of a part of 10,000 rows stays under 20 kB.
ROW_GROUP_ROWS = 1_000
# Files kept open; a process may have 1,024 open files by default.
OPEN_FILES = 128


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file, the same bytes at each call."""
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=ROW_GROUP_ROWS,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=["shard", "reason", "stage"],
        write_statistics=False,  # row groups are found by position, so statistics only make footers longer
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class _Opened:
    file: Any  # pq.ParquetFile
    starts: npt.NDArray[np.int64]  # the first row of each row group, and the end
    lock: threading.Lock  # a ParquetFile must not be read by two threads at once


class MetadataFiles:
    """The metadata files of a store: random access to their rows, with a limited number of files open. Thread-safe."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        self._store, self._manifest, self._parts = store, manifest, manifest.parts
        self._opened: OrderedDict[int, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, part: int, positions: npt.NDArray[np.int64], columns: Sequence[str] | None) -> pa.Table:
        """The rows of a part at `positions` [n] (in any order, repeats allowed), in their order."""
        opened = self._open(part)
        groups = np.searchsorted(opened.starts, positions, side="right") - 1
        wanted, where = np.unique(groups, return_inverse=True)
        names = self.column_names(part) if columns is None else list(columns)
        with opened.lock:
            table = opened.file.read_row_groups(wanted.tolist(), columns=self._file_columns(opened, names))
        sizes = np.diff(opened.starts)[wanted]
        before = np.cumsum(sizes) - sizes
        return self._rename(table, names).take(pa.array(before[where] + positions - opened.starts[groups]))

    def batches(self, part: int, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.Table]:
        """A part's rows in order, as tables of up to `batch_rows` rows."""
        opened = self._open(part)
        names = self.column_names(part) if columns is None else list(columns)
        if not names:
            raise BadInput("name at least one metadata column")
        path, expected = self._file(part), self._parts[part].rows
        file = pq.ParquetFile(path)  # not the shared one, which other threads read while this scan lasts
        rows = 0
        for batch in file.iter_batches(batch_size=batch_rows, columns=self._file_columns(opened, names)):
            table = self._rename(pa.Table.from_batches([batch]), names)
            rows += table.num_rows
            yield table
        if rows != expected:
            raise StoreInvalid(f"{path}: gave {rows} rows instead of {expected}")

    def column_names(self, part: int) -> list[str]:
        """The columns of METADATA_SCHEMA, then other ones: those of the store, or the file's where it names none."""
        if self._manifest.other_columns:
            return [*METADATA_SCHEMA.names, *self._manifest.other_columns]
        taken = set(self._manifest.columns.values())
        own = [name for name in self._open(part).file.schema_arrow.names if name not in taken]
        return [*METADATA_SCHEMA.names, *(name for name in own if name not in METADATA_SCHEMA.names)]

    def check(self, part: int) -> None:
        """Open a part's file; StoreInvalid when it cannot be read or its number of rows is not the part's."""
        self._open(part)

    def _file(self, part: int) -> Path:
        return part_file(self._store, self._parts[part], "metadata")

    def _open(self, part: int) -> _Opened:
        with self._lock:
            opened = self._opened.get(part)
            if opened is not None:
                self._opened.move_to_end(part)
                return opened
        path = self._file(part)
        try:
            file = pq.ParquetFile(path)
        except FileNotFoundError as error:
            raise StoreInvalid(f"{path}: is missing") from error
        except (pa.ArrowException, OSError) as error:
            raise StoreInvalid(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
        if file.metadata.num_rows != self._parts[part].rows:
            raise StoreInvalid(f"{path}: has {file.metadata.num_rows} rows, the part {self._parts[part].rows}")
        counts = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        starts = np.cumsum([0, *counts], dtype=np.int64)
        opened = _Opened(file, starts, threading.Lock())
        with self._lock:
            self._opened[part] = opened
            while len(self._opened) > OPEN_FILES:
                self._opened.popitem(last=False)  # not closed here: another thread may be reading it
        return opened

    def _own_name(self, name: str, there: Sequence[str]) -> str:
        """The file's name for one of our columns, or for its own; parts of one store may differ in it."""
        own = self._manifest.columns.get(name, name)
        if own in there or self._manifest.kind != "adopted":
            return own
        return next((other for other in FOREIGN_NAMES.get(name, ()) if other in there), own)

    def _file_columns(self, opened: _Opened, names: Sequence[str]) -> list[str]:
        there = opened.file.schema_arrow.names
        own = [self._own_name(name, there) for name in names]
        for name, own_name in zip(names, own, strict=True):
            if own_name not in there and column_type(self._manifest, name) is None:
                known = sorted({*there, *self._manifest.other_columns})
                raise BadInput(f"no metadata column {name!r}; there are: {', '.join(known)}")
        found = [name for name in own if name in there]
        return list(dict.fromkeys(found)) or [there[0]]  # a column must be read for the count of rows

    def _rename(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        arrays, fields = [], []
        for name in names:
            own_name = self._own_name(name, table.column_names)
            wanted = column_type(self._manifest, name)
            if own_name not in table.column_names:
                array: Any = pa.nulls(table.num_rows, wanted)
            else:
                array = table[own_name]
                if self._manifest.kind == "adopted":
                    array = _valid_text(array)
                if wanted is not None and wanted != pa.null() and array.type != wanted:
                    array = _cast(array, wanted)
            arrays.append(array)
            fields.append(pa.field(name, array.type))
        return pa.table(arrays, schema=pa.schema(fields))


def join_parts(tables: Sequence[pa.Table], parts: Sequence[str], store: Path) -> pa.Table:
    """Rows of several parts, named `parts`, as one table; StoreInvalid when a column's types do not fit together."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        for name in tables[0].column_names:
            types = {table.schema.field(name).type: part for table, part in zip(tables, parts, strict=True)}
            types.pop(pa.null(), None)
            if len(types) > 1:
                (one, first), (other, second) = list(types.items())[:2]
                raise StoreInvalid(
                    f"{store}: the column {name!r} is {one} in part {first} and {other} in part {second}; "
                    f"run `clipmine adopt {store}` again, which finds one type for all parts"
                ) from error
        raise


def column_type(manifest: Manifest, name: str) -> Any:
    """The Arrow type of a column for readers; the null type for one that they see as stored, None for no column."""
    if name in METADATA_SCHEMA.names:
        return METADATA_SCHEMA.field(name).type
    known = manifest.other_columns.get(name)
    if known is None:
        return pa.null() if name in manifest.columns.values() else None
    try:
        return pa.type_for_alias(known)
    except ValueError:
        return pa.null()  # a nested type


def _valid_text(array: Any) -> Any:
    """A text column as read, or with U+FFFD for each byte that is not UTF-8: one such byte must not cost a look-up."""
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        values = array.cast(pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary()).to_pylist()
        return pa.chunked_array([pa.array([_convert(_text, value) for value in values], array.type)])
    return array


def _cast(array: Any, wanted: Any) -> Any:
    """A foreign column in our type: a width of 12.5 or "12.5" becomes 12; what is no number, such as "tall", null."""
    try:
        return array.cast(wanted)
    except pa.ArrowException:
        convert = _converter(wanted)
        return pa.chunked_array([pa.array([_convert(convert, value) for value in array.to_pylist()], wanted)])


def _converter(wanted: Any) -> Callable[[Any], Any]:
    if pa.types.is_string(wanted):
        return _text
    if pa.types.is_integer(wanted):
        return lambda value: pa.scalar(_whole(value), wanted).as_py()  # ArrowInvalid beyond the type's range
    return float if pa.types.is_floating(wanted) else _nothing


def _whole(value: Any) -> int:
    """A number, or a text of one, without its fraction; ValueError or OverflowError for another value."""
    try:
        return int(value)
    except ValueError:
        return int(float(value))  # "12.5", "640.0", "1e3"


def _text(value: Any) -> str | None:
    """A value as text; of a list, such as an image's captions, its first entry."""
    if isinstance(value, list):
        value = next((entry for entry in value if entry is not None), None)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)


def _nothing(value: Any) -> None:
    """No conversion is known."""


def _convert(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return None if value is None else convert(value)
    except (TypeError, ValueError, OverflowError):  # ArrowInvalid is a ValueError
        return None
