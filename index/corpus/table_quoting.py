"""How a text table is quoted: by the rules of CSV (RFC 4180), with backslashes, as Spark writes it, or not at all.

Published TSV files are mostly not quoted, and captions begin with quotes: read by the rules of CSV, such a caption
swallows the rows up to the next quote. So a file is read with quoting only where its quotes fit, and a TSV file only
where they prove that it is quoted; else every line is one row.
"""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import BadInput

if TYPE_CHECKING:
    from _csv import Reader as CsvReader  # its name for type checkers only, before Python 3.13

__all__ = ["Dialect", "find_dialect", "rows_of", "split_line"]

_MARK = b"\xef\xbb\xbf"  # the byte-order mark of UTF-8
_INNER = {False: rb'[^"]*+(?:""[^"]*+)*+', True: rb'(?:[^"\\]++|\\.)*+'}  # of a quoted value; True: with backslashes
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Dialect:
    """How lines are read; `escaped`: within quotes, a backslash stands before a quote, which is not doubled."""

    delimiter: str
    quoted: bool
    escaped: bool = False


def split_line(line: str, dialect: Dialect) -> list[str]:
    """The values of one line; [] of an empty one."""
    return next(rows_of([line], dialect), [])


def rows_of(lines: Iterable[str], dialect: Dialect) -> CsvReader:
    """`csv.reader` over the lines of a table."""
    if not dialect.quoted:
        return csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
    if not dialect.escaped:
        return csv.reader(lines, delimiter=dialect.delimiter)
    return csv.reader(lines, delimiter=dialect.delimiter, escapechar="\\", doublequote=False)


def find_dialect(name: str, local: Path, delimiter: str, head: str) -> Dialect:
    """The dialect of the UTF-8 file `local`, whose first line is `head`; `name` is for messages.

    BadInput where values are quoted and another begins with a quote and does not end with it, so that rows would be
    lost either way.
    """
    unquoted = Dialect(delimiter, quoted=False)
    if local.stat().st_size == 0:
        return unquoted
    cells = split_line(head, unquoted)
    all_quoted = all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    with open(local, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        proof, misfit = _quotes(data, delimiter.encode(), len(cells), escaped=False)
        if misfit is None:
            return Dialect(delimiter, quoted=delimiter != "\t" or proof or all_quoted)
        backslashes, other = _quotes(data, delimiter.encode(), len(cells), escaped=True)
        if other is None and backslashes:
            return Dialect(delimiter, quoted=True, escaped=True)
        if delimiter != "\t" and (proof or all_quoted):
            raise BadInput(
                f"{name}: line {_line_number(data, misfit)} has a value that begins with a quote and does not end with "
                "one, while other values are quoted, so rows would be lost; double the quotes within it and quote all "
                "of it, or save the table as Parquet"
            )
    return unquoted


def _quotes(data: mmap.mmap, delimiter: bytes, columns: int, escaped: bool) -> tuple[bool, int | None]:
    """Whether a value is quoted that has to be, and where the first quote is that begins a value and does not fit."""
    comma = re.escape(delimiter)
    # A quote first, which is searched for fast; where a value begins; the value and its end, or nothing: a misfit.
    pattern = re.compile(
        rb'"(?:(?<=[%b\n\r]")|(?<=\A")|(?<=\A%b"))(?:(%b)"(?=[%b\r\n]|\Z)|)' % (comma, _MARK, _INNER[escaped], comma),
        re.DOTALL,
    )
    proof = False
    for match in pattern.finditer(data):
        inner = match[1]
        if inner is None or _holds_rows(data, match, delimiter, columns):
            return proof, match.start()
        proof = proof or any(sign in inner for sign in (b'\\"' if escaped else b'""', b"\n", delimiter))
    return proof, None


def _holds_rows(data: mmap.mmap, match: re.Match[bytes], delimiter: bytes, columns: int) -> bool:
    """Whether a quoted value reaches over lines each of which is a row by itself, so that its quotes met by chance."""
    if columns < 2 or b"\n" not in match[1]:
        return False
    begin = data.rfind(b"\n", 0, match.start()) + 1
    end = data.find(b"\n", match.end())
    lines = data[begin : end if end >= 0 else len(data)].split(b"\n")
    return all(line.count(delimiter) == columns - 1 for line in lines if line.strip(b"\r"))


def _line_number(data: mmap.mmap, place: int) -> int:
    return 1 + sum(data[start : min(start + _CHUNK, place)].count(b"\n") for start in range(0, place, _CHUNK))
