"""CSV and TSV files of URLs, as data sets publish them: with the encoding, delimiter and quoting that they have.

Encodings are UTF-8, and UTF-16 and UTF-32 by their byte-order marks or zero bytes. Files that are packed with gzip
(.csv.gz, .tsv.gz) are unpacked. A line with too many or too few values is an error with its number, never a row.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv

from index import files
from index.corpus.table_quoting import Dialect, find_dialect, rows_of, split_line
from index.errors import BadInput
from index.parquet import native_file

__all__ = ["TextTable", "open_text_table"]

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_HEAD = 1 << 16
_BLOCK = 16 << 20  # bytes that Arrow parses at once; no row may be longer
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class TextTable:
    """An open file: the names of its columns, and batches of the wanted ones."""

    names: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]


@contextmanager
def open_text_table(
    path: str, names: Sequence[str], wanted: Sequence[str], as_bytes: Sequence[str]
) -> Iterator[TextTable]:
    """Open a file; its batches hold the columns `wanted`, those of `as_bytes` as binary, others typed by their values.

    names: the file's columns where it has no header, else (). The batches lack columns that are missing or doubled.

    Raises:
        BadInput: the first line is no header, or has not as many values as `names`. Also while batches are read, where
            a line has too many or too few values.
        pa.ArrowInvalid: the file is empty. While batches are read, a value is not of its column's type.
    """
    with _as_utf8(path) as local:
        head = _first_line(local)
        delimiter = _delimiter(path, head, names, wanted)
        dialect = find_dialect(path, local, delimiter, head)
        cells = split_line(head, dialect)
        if not names:
            _refuse_data(path, cells)
        elif len(names) != len(cells):
            raise BadInput(f"{path}: its first line has {len(cells)} values, but --columns names {len(names)}")
        found = tuple(names or cells)
        with native_file(local) as file:
            with _naming_the_line(path, local, dialect, len(found)):
                reader = pa_csv.open_csv(
                    file,
                    # In one thread, as only then errors name the row.
                    pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=list(names) or None),
                    _parse_options(dialect),
                    pa_csv.ConvertOptions(
                        include_columns=[name for name in dict.fromkeys(wanted) if found.count(name) == 1],
                        column_types={name: pa.binary() for name in as_bytes},
                        strings_can_be_null=False,
                    ),
                )
            yield TextTable(found, _batches(reader, path, local, dialect, len(found)))


def _parse_options(dialect: Dialect) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char='"' if dialect.quoted else False,
        double_quote=not dialect.escaped,
        escape_char="\\" if dialect.escaped else False,
        newlines_in_values=dialect.quoted,
    )


def _batches(
    reader: pa_csv.CSVStreamingReader, path: str, local: Path, dialect: Dialect, columns: int
) -> Iterator[pa.RecordBatch]:
    with _naming_the_line(path, local, dialect, columns):
        yield from reader


@contextmanager
def _naming_the_line(path: str, local: Path, dialect: Dialect, columns: int) -> Iterator[None]:
    """Turn Arrow's error on a row with too many or too few values into BadInput with the number of its line."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if "Expected" not in str(error):
            raise
        with open(local, encoding="utf-8-sig", errors="replace", newline="") as stream:
            line, problem = _first_odd_line(stream, dialect, columns)
        if not line:
            raise
        advice = f"give each row {columns} values between {_DELIMITERS[dialect.delimiter]}"
        if not dialect.quoted and dialect.delimiter != "\t":
            advice += ", and quote those that hold one"
        raise BadInput(f"{path}: line {line} {problem}; {advice}, or save the table as Parquet") from error


def _first_odd_line(stream: IO[str], dialect: Dialect, columns: int) -> tuple[int, str]:
    rows = rows_of(stream, dialect)
    before = 0
    try:
        for row in rows:
            if row and len(row) != columns:
                return before + 1, f"has {len(row)} {'value' if len(row) == 1 else 'values'}, not {columns}"
            before = rows.line_num
    except csv.Error as error:
        return before + 1, f"cannot be read ({error})"
    return 0, ""


@contextmanager
def _as_utf8(path: str) -> Iterator[Path]:
    """A local file with the text of `path` in UTF-8: the file itself, or a temporary copy."""
    packed = path.lower().endswith(".gz")
    with _open(path, packed) as stream:
        encoding = _encoding(stream.read(_HEAD))
    if files.is_local(path) and not packed and encoding is None:
        yield files.local_path(path)
        return
    with tempfile.NamedTemporaryFile() as copy:
        with files.disk_full(tempfile.gettempdir()), _open(path, packed) as stream:
            try:
                _write_utf8(stream, encoding, copy)
            except UnicodeError as error:
                raise BadInput(f"{path}: begins like {encoding}, but is not: {error}") from error
            copy.flush()
        yield Path(copy.name)


@contextmanager
def _open(path: str, packed: bool) -> Iterator[IO[bytes]]:
    with files.open_file(path) as stream:
        if not packed:
            yield stream
            return
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked  # type: ignore[misc]  # is one, but for its type
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(f"{path}: cannot be unpacked as gzip ({error})") from error


def _write_utf8(stream: IO[bytes], encoding: str | None, copy: IO[bytes]) -> None:
    if encoding is None:
        shutil.copyfileobj(stream, copy, 1 << 20)
        return
    # What is no valid text becomes bytes that are no valid UTF-8, so that it costs its rows only.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    while block := stream.read(1 << 20):
        copy.write(decoder.decode(block).encode("utf-8", "surrogatepass"))


def _encoding(head: bytes) -> str | None:
    """The encoding that a file's first bytes show; None for UTF-8 and anything else that Arrow is to read."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    # UTF-16 without a mark: of text that is mostly ASCII, every second byte is zero.
    for zeros, others, name in ((head[1::2], head[::2], "utf-16-le"), (head[::2], head[1::2], "utf-16-be")):
        if zeros.count(0) > len(zeros) // 2 and not others.count(0):
            return name
    return None


def _first_line(local: Path) -> str:
    with open(local, encoding="utf-8-sig", errors="replace") as stream:
        return next((line.rstrip("\n") for line in stream if line.strip("\n")), "")


def _delimiter(path: str, head: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    """That of the file's name, or another by which the first line has the columns: spreadsheets write semicolons."""
    own = "\t" if path.lower().removesuffix(".gz").endswith(".tsv") else ","
    for delimiter in (own, *(other for other in _DELIMITERS if other != own)):
        cells = split_line(head, Dialect(delimiter, quoted=True))
        if len(cells) == len(names) if names else set(wanted) <= set(cells):
            return delimiter
    return own


def _refuse_data(path: str, cells: Sequence[str]) -> None:
    for cell in cells:
        if re.match(r"\s*https?://", cell, re.IGNORECASE):
            raise BadInput(
                f"{path}: has no header: its first line holds {cell.strip()[:80]!r}; name its {len(cells)} columns in "
                "their order, such as --columns caption,url"
            )
