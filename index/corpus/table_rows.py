"""The rows of one table of URLs, Parquet or text: what can be fetched, and why each other row cannot.

A row is refused for `no_url` (null or blank), `data_url`, `not_http`, `not_utf8` (one of its texts is not valid UTF-8).
A column of a type that cannot serve is one line of bad input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.corpus.browser_url import PADDING
from index.corpus.table_text import open_text_table
from index.errors import BadInput
from index.parquet import open_parquet

__all__ = [
    "TABLE_SUFFIXES",
    "Columns",
    "MixedColumn",
    "Rows",
    "check_names",
    "check_types",
    "is_table",
    "table_rows",
    "url_problems",
    "usable_urls",
]

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
_BATCH = 65_536


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns: with the URLs, with captions, and to be kept; `names` are all, without a header."""

    url: str
    caption: str | None
    keep: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> list[str]:
        """Those that are read."""
        return [self.url, *([self.caption] if self.caption else []), *self.keep]


@dataclass(frozen=True)
class Rows:
    """A batch: `usable` has the columns url, caption (where asked for) and the kept ones.

    place: int64 [usable], each row's place in the batch; refused: int64 [others] likewise, and their reasons.
    """

    count: int
    usable: pa.Table
    place: npt.NDArray[np.int64]
    refused: npt.NDArray[np.int64]
    reasons: pa.Array


class MixedColumn(Exception):
    """A kept column of a text table has values of another type than its first ones: read it as text."""


def is_table(name: str) -> bool:
    """Whether a file or folder is a table of URLs, by the end of its name."""
    return name.lower().endswith(TABLE_SUFFIXES)


def table_rows(path: str, columns: Columns, *, as_text: bool = False) -> Iterator[Rows]:
    """All rows of one file, in order; as_text: kept columns of a text table are text, whatever they look like.

    Raises:
        BadInput: the file cannot be read as a table, or a column is missing, doubled or of a type that cannot serve.
        MixedColumn: read it again, with `as_text`.
    """
    with _readable(path, as_text):
        if path.lower().endswith(".parquet"):
            if columns.names:
                raise BadInput(f"{path}: has names for its columns; --columns is for text files without a header")
            with open_parquet(path) as parquet:
                check_names(path, parquet.schema_arrow.names, columns)
                check_types(path, parquet.schema_arrow, columns)
                for batch in parquet.iter_batches(_BATCH, columns=list(dict.fromkeys(columns.wanted))):
                    yield _sorted_out(pa.Table.from_batches([batch]), columns)
            return
        as_bytes = columns.wanted if as_text else [name for name in (columns.url, columns.caption) if name]
        with open_text_table(path, columns.names, columns.wanted, as_bytes) as text:
            check_names(path, text.names, columns)
            for batch in text.batches:
                yield _sorted_out(pa.Table.from_batches([batch]), columns)


@contextmanager
def _readable(path: str, as_text: bool) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, not of Arrow
        line = str(error).partition("\n")[0]
        if "conversion error" in line and not as_text:
            raise MixedColumn from error
        raise BadInput(f"{path}: cannot be read as a table: {line}") from error


def check_names(path: str, names: Sequence[str], columns: Columns) -> None:
    """BadInput when one of the wanted columns is not among a table's `names`, or there twice."""
    for name in columns.wanted:
        if name not in names:
            option = {columns.url: "--url-column", columns.caption: "--caption-column"}.get(name, "--keep")
            raise BadInput(f"{path}: has no column {name!r}; its columns are {', '.join(names)}; choose with {option}")
        if names.count(name) > 1:
            raise BadInput(f"{path}: has {names.count(name)} columns named {name!r}; rename all but one")


def check_types(path: str, schema: pa.Schema, columns: Columns) -> None:
    """BadInput when a wanted column of a typed table has a type that cannot serve."""
    for name in columns.wanted:
        kind = schema.field(name).type
        if name == columns.url and not _is_text(kind):
            advice = "URLs have to be text, one a row; choose another column with --url-column"
        elif name == columns.caption and not _has_text_form(kind):
            advice = "a caption has to be one text; write one a row, or choose another column with --caption-column"
        elif name in columns.keep and not _is_json(kind) and not _has_text_form(kind):
            advice = "such values cannot be kept; leave it out of --keep, or store it as text"
        else:
            continue
        raise BadInput(f"{path}: the column {name!r} is of type {kind}; {advice}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = ("string", "large_string", "string_view", "null")
    return any(getattr(pa.types, f"is_{check}")(kind) for check in checks) or _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    checks = ("binary", "large_binary", "fixed_size_binary", "binary_view")
    return any(getattr(pa.types, f"is_{check}")(kind) for check in checks)


def _has_text_form(kind: pa.DataType) -> bool:
    """Whether values can be cast to text: text, numbers, dates and the like, but not lists and structs."""
    if _is_text(kind):
        return True
    try:
        pa.array([], kind).cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _is_json(kind: pa.DataType) -> bool:
    """Whether img2dataset can write such values as JSON as they are: it loses rows with dates or bytes."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_json(kind.field(number).type) for number in range(kind.num_fields))
    checks: tuple[Callable[[pa.DataType], bool], ...] = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
    )
    return any(check(kind) for check in checks)


def _sorted_out(table: pa.Table, columns: Columns) -> Rows:
    """A batch of the wanted columns in our names, without the rows that are refused."""
    reasons = np.full(table.num_rows, None, dtype=object)
    for name in table.column_names:
        reasons[_not_utf8(table[name])] = "not_utf8"
    valid = np.flatnonzero(reasons == None)  # noqa: E711  elementwise
    table = table.take(pa.array(valid)) if len(valid) < table.num_rows else table
    ours = {"url": _as_text(table[columns.url])}
    if columns.caption:
        ours["caption"] = _as_text(table[columns.caption])
    for name in columns.keep:
        column = table[name]
        ours[name] = column if _is_json(column.type) else _as_text(column)
    problems = url_problems(ours["url"])
    reasons[valid] = problems.to_numpy()
    usable = pa.table(ours).filter(pc.is_null(problems))
    refused = np.flatnonzero(reasons != None)  # noqa: E711
    place = np.setdiff1d(np.arange(len(reasons)), refused, assume_unique=True)
    return Rows(len(reasons), usable, place, refused, pa.array(reasons[refused], pa.string()))


def _not_utf8(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """bool [rows]: which values have a text that is not valid UTF-8. Parquet files are read without a check."""
    if _is_bytes(column.type):
        return np.array([not _decodes(value) for value in column.to_pylist()], np.bool_)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([not _is_valid(value) for value in column], np.bool_)
    return np.zeros(len(column), np.bool_)


def _decodes(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_valid(value: pa.Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    return column.cast(pa.string())


def url_problems(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """string [n]: why each URL cannot be fetched: no_url, data_url or not_http; null for one of http or https."""

    def begins(pattern: str) -> pa.ChunkedArray:
        return pc.match_substring_regex(filled, f"(?i)^{PADDING}{pattern}")

    filled = pc.fill_null(urls, "")
    return pc.case_when(
        pc.make_struct(begins("https?://"), begins("$"), begins("data:")),
        pa.scalar(None, pa.string()),
        "no_url",
        "data_url",
        "not_http",
    ).cast(pa.string())


def usable_urls(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """bool [n]: whether each URL is one of http or https."""
    return pc.is_null(url_problems(urls))
