"""The records of a file, one at a time, and a file of records: JSON, JSONL, Parquet, TSV and CSV.

A .json file is a list, or, as NLVR2's, a record a line. A line that is broken is an `Unread` with its number, so that
it is counted and the others are read; a broken list cannot be read past its fault and is an error.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import open_file
from index.parquet import open_parquet
from mining.sets.importers.import_counts import shown, shown_list
from mining.sets.importers.json_stream import REPEATED, JsonStream, RepeatedKey, Unread, load_json

__all__ = ["SUFFIXES", "Unread", "columns_of", "read_records", "records_file", "suffix_of"]

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".tsv", ".csv")
_BATCH = 512  # rows of Parquet at a time
_BATCH_OF_FILES = 32  # where they hold image files
_LOOKED_AT = 100  # records that tell the columns of a JSON file
# The longest line of text; a conversation has some thousand characters.
_LONGEST_LINE = 128 << 20
# A field of CSV is as long as a line at most; the csv module's own limit is 131,072 characters.
csv.field_size_limit(_LONGEST_LINE)


def suffix_of(path: str) -> str:
    """The file's suffix, in lower case."""
    return "." + path.rpartition("/")[2].rpartition(".")[2].lower()


def read_records(path: str, keep: Sequence[str] = (), note: Callable[[str], None] = lambda text: None) -> Iterator[Any]:
    """Yield the records of a file; an Unread for each that is broken.

    keep: columns of a Parquet table whose values need not be JSON data, such as image files. note: is told what else
    was left out. Raises BadInput for a file of another kind, a missing one, and a list or table that is broken.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise BadInput(f"{path}: unknown kind of file; records are read from {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            yield from _parquet(path, keep, note)
            return
        with open_file(path, "r") as stream:
            if suffix in (".tsv", ".csv"):
                yield from _rows(stream, path, suffix)
            elif suffix == ".json" and _is_list(path):
                yield from JsonStream(stream, path).elements()
            else:
                yield from _lines(stream, path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: does not exist") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it first") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error


def columns_of(path: str) -> list[str]:
    """The columns of a table, or the fields of a JSON file's first records."""
    if suffix_of(path) == ".parquet":
        with _table(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    found: dict[str, None] = {}
    for record in islice(read_records(path), _LOOKED_AT):
        if isinstance(record, dict):
            found |= dict.fromkeys(record)
        elif isinstance(record, list):
            found |= dict.fromkeys(map(str, range(len(record))))
    return list(found)


def records_file(records: Iterable[Any], suffix: str) -> bytes:
    """A file of these records. Raises BadInput for a suffix that has no writer."""
    if suffix == ".json":
        return (json.dumps(list(records), ensure_ascii=False, indent=1) + "\n").encode()
    if suffix in (".jsonl", ".ndjson"):
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    rows = list(records)
    if suffix == ".parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd")
        return buffer.getvalue()
    names = list(rows[0]) if rows else []
    if suffix == ".tsv":
        lines = [names, *([str(row[name]) for name in names] for row in rows)]
        return "".join("\t".join(line) + "\n" for line in lines).encode()
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    raise BadInput(f"{suffix}: unknown kind of file; records are written to {', '.join(SUFFIXES)}")


def _is_list(path: str) -> bool:
    with open_file(path, "r") as stream:
        return JsonStream(stream, path).first() == "["


def _lines(stream: IO[str], path: str) -> Iterator[Any]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if not (text := line.removeprefix("\ufeff") if number == 1 else line).strip():
            continue
        try:
            record = load_json(text)
        except RepeatedKey as error:
            yield Unread(REPEATED, f"line {number}: {error.key!r:.80}")
            continue
        except (ValueError, RecursionError) as error:
            if number == 1 and text.strip() in ("{", "["):
                raise BadInput(
                    f"{path}: is one JSON object over several lines; records are a list, or a line each"
                ) from error
            yield Unread("broken JSON", f"line {number}: {error}")
            continue
        yield record


def _rows(stream: IO[str], path: str, suffix: str) -> Iterator[Any]:
    """A row as texts by the names of the first line. TSV knows no quotes: a tab or a line break ends a field."""
    lines: Iterator[list[str]]
    if suffix == ".tsv":
        lines = (line.rstrip("\r\n").split("\t") for line in stream)
    else:
        lines = csv.reader(stream, strict=True)
    names: list[str] | None = None
    number = 0
    try:
        for number, row in enumerate(lines, start=1):
            if names is None:
                names = [*(name.removeprefix("\ufeff") for name in row)]
                if len(set(names)) != len(names):
                    raise BadInput(f"{path}: two columns have one name: {shown_list(names)}")
            elif row and row != [""]:
                if len(row) != len(names):
                    yield Unread("another number of fields than columns", f"row {number}: {len(row)}, {len(names)}")
                else:
                    yield dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise BadInput(f"{path}: broken after row {number} ({error}); mend the file or download it again") from error


def _parquet(path: str, keep: Sequence[str], note: Callable[[str], None]) -> Iterator[Any]:
    with _table(path) as file:
        schema = file.schema_arrow
        if len(set(schema.names)) != len(schema.names):
            raise BadInput(f"{path}: two columns have one name: {shown_list(schema.names)}")
        left_out = [field for field in schema if field.name not in keep and not _is_json(field.type)]
        for field in left_out:
            kind = shown(str(field.type))
            note(f"{path}: the column {shown(field.name)} was left out: {kind} is no JSON data")
        columns = [name for name in schema.names if name not in {field.name for field in left_out}]
        size = _BATCH if all(_is_json(schema.field(name).type) for name in columns) else _BATCH_OF_FILES
        for batch in file.iter_batches(batch_size=size, columns=columns):
            yield from batch.to_pylist()


@contextmanager
def _table(path: str) -> Iterator[pq.ParquetFile]:
    try:
        with open_parquet(path) as file:
            yield file
    except FileNotFoundError as error:
        raise BadInput(f"{path}: does not exist") from error
    except (pa.ArrowException, OSError) as error:
        why = shown(str(error).partition("\n")[0])
        raise BadInput(f"{path}: is no Parquet file, or damaged ({why})") from error


def _is_json(kind: pa.DataType) -> bool:
    """Whether values of this type can be kept as JSON."""
    types = pa.types
    if types.is_struct(kind):
        return all(_is_json(kind.field(place).type) for place in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    if types.is_dictionary(kind):
        return _is_json(kind.value_type)
    texts = types.is_string(kind) or types.is_large_string(kind)
    return bool(
        texts or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)
    )
