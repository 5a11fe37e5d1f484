"""Lists that a user passes to a command: a file, or "-" for standard input, with one entry a line and # comments.

Editors and spreadsheets save them in many ways: with a byte-order mark, as UTF-16, with any line ends, with blanks at
the ends of lines, quoted, under a header, or as one column of a table. All of these give the same entries.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

from index.errors import BadInput
from index.files import read_bytes

__all__ = ["KEYS", "ROWS", "SHA256", "URLS", "Column", "ListKind", "read_column", "read_lines", "read_numbers"]

# str.splitlines also splits at characters that no editor takes for the end of a line.
_LINE_END = re.compile(r"\r\n|\n|\r")
_DELIMITERS = "\t;,"
_HEX64 = re.compile(r"[0-9a-fA-F]{64}")


def read_lines(path: str, entry: str = "entry") -> list[str]:
    """The lines of a text file ("-": standard input) that are neither empty nor start with "#", without outer blanks.

    entry: what a line holds, for messages. Raises BadInput for a missing file, for bytes that are neither UTF-8 nor
    marked UTF-16 and for a list without entries.
    """
    return _lines(path, _read_text(path), entry)


@dataclass(frozen=True)
class ListKind:
    """A kind of entries. entry: its name in messages; headers: names of a column of them, folded; is_entry: whether a
    text can be one."""

    entry: str
    headers: tuple[str, ...]
    is_entry: Callable[[str], bool]


KEYS = ListKind("key", ("key", "keys", "source_key"), bool)
URLS = ListKind("URL", ("url", "urls", "image_url", "image url", "link"), lambda text: "." in text or "/" in text)
SHA256 = ListKind(
    "SHA-256 sum",
    ("sha256", "sha-256", "sha256sum", "checksum", "hash"),
    lambda text: _HEX64.fullmatch(text) is not None,
)
ROWS = ListKind("row id", ("row", "rows", "row_id", "row_ids", "row id", "row ids"), str.isdecimal)


@dataclass(frozen=True)
class Column:
    """A list's entries, each once, in order. header: the line above them, which is no entry; None where there is none.

    repeated: lines that repeat an entry.
    """

    entries: tuple[str, ...]
    header: str | None
    repeated: int


def read_column(path: str, kind: ListKind) -> Column:
    """The entries of a list, or of the column with one of the kind's header names in a CSV or TSV table.

    Sums may be lines of `sha256sum`. Raises BadInput as `read_lines` does, for a table without such a column (where
    tabs show that it is one), and for a line that cannot be an entry.
    """
    text = _read_text(path)
    lines = _lines(path, text, kind.entry)
    table = _table(lines[0], kind)
    header: str | None = None
    if table is not None:
        header, found = table.header, _cells(path, text, table)
    else:
        found = [_unquoted(path, line, kind) for line in lines]
        if _is_header(found, kind):
            header, found = found[0], found[1:]
    found = [entry for entry in found if entry]
    if not found:
        raise BadInput(f"{path}: is empty; write one {kind.entry} a line")
    if kind is SHA256 and (wrong := next((entry for entry in found if not kind.is_entry(entry)), None)) is not None:
        raise BadInput(f"{path}: {wrong!r:.100} is not a SHA-256 sum; write 64 hex digits a line")
    once = tuple(dict.fromkeys(found))
    return Column(once, header, len(found) - len(once))


def read_numbers(path: str) -> list[int]:
    """The row ids of a list, as `read_column`; BadInput names the first entry that is not a whole number."""
    numbers = []
    for entry in read_column(path, ROWS).entries:
        try:
            numbers.append(int(entry))
        except ValueError:
            raise BadInput(f"{path}: {entry!r} is not a row id; write one whole number a line") from None
    return numbers


def _read_text(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else read_bytes(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadInput(f"{path}: there is no such file") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and b"\0" in data:
        raise BadInput(
            f"{path}: is not UTF-8 text (it has zero bytes, as UTF-16 without its mark has); save it as UTF-8"
        )
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error})") from error


def _strip(line: str) -> str:
    """Without blanks at the ends; a byte-order mark in the middle of a file, where two were joined, is one too."""
    return line.strip().strip("\ufeff").strip()


def _lines(path: str, text: str, entry: str) -> list[str]:
    """The lines that are neither empty nor comments, without outer blanks."""
    lines = [line for line in map(_strip, _LINE_END.split(text)) if line and not line.startswith("#")]
    if not lines:
        raise BadInput(f"{path}: is empty; write one {entry} a line")
    return lines


@dataclass(frozen=True)
class _Table:
    """A table with a column of entries, the cells at `place` of each row."""

    delimiter: str
    place: int
    header: str


def _table(first: str, kind: ListKind) -> _Table | None:
    """The table whose first line is `first`; None where that names no column of this kind beside others."""
    for delimiter in _DELIMITERS:
        names = [_strip(cell) for cell in next(csv.reader([first], delimiter=delimiter), [])]
        places = [place for place, name in enumerate(names) if name.casefold() in kind.headers]
        if len(names) > 1 and places:
            return _Table(delimiter, places[0], names[places[0]])
    return None


def _cells(path: str, text: str, table: _Table) -> list[str]:
    """The cells of the table's column, below the header; rows without anything in them are skipped."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter)
    entries: list[str] = []
    try:
        filled = [(rows.line_num, row) for row in rows if any(map(_strip, row)) and not _strip(row[0]).startswith("#")]
    except csv.Error as error:
        raise BadInput(f"{path}, line {rows.line_num}: cannot be read as a table ({error})") from error
    for line, row in filled[1:]:
        if len(row) <= table.place or not _strip(row[table.place]):
            raise BadInput(
                f"{path}, line {line}: has nothing in the column {table.header!r:.100}; fill it or delete the line"
            )
        entries.append(_strip(row[table.place]))
    return entries


def _is_header(lines: list[str], kind: ListKind) -> bool:
    """Whether the first line has a column's name, or cannot be an entry while all others are."""
    if lines[0].casefold() in kind.headers:
        return True
    return kind is not ROWS and len(lines) > 1 and not kind.is_entry(lines[0]) and all(map(kind.is_entry, lines[1:]))


def _unquoted(path: str, line: str, kind: ListKind) -> str:
    """A line as an entry: without the quotes of a spreadsheet; of `sha256sum`, the sum."""
    if kind is SHA256 and (sum_and_name := re.fullmatch(r"\\?([0-9a-fA-F]{64})[ \t]+\*?\S.*", line)):
        return sum_and_name[1]
    if "\t" in line:
        raise BadInput(
            f"{path}: {line!r:.100} holds several columns; name the right one {kind.headers[0]!r} in a first line, or "
            f"save it alone, one {kind.entry} a line"
        )
    if len(line) > 1 and line[0] == line[-1] == '"':
        cells = next(csv.reader([line]))
        return _strip(cells[0]) if len(cells) == 1 else line
    return line
