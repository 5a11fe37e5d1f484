"""The outputs that were made from a store: `clipmine forget` names those that hold rows which are forgotten now.

    STORE/outputs/4f0c2a7e9b04d1a2.json    one for each output: its kind, its path, which of its files hold row ids

An entry is written when a job has finished its output, after the output itself. A store that cannot be written to has
no register, and an output that was moved or deleted is not looked at any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from os import fspath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from index.errors import ClipmineError
from index.files import (
    exists,
    hash_json,
    is_local,
    join,
    list_names,
    local_path,
    read_bytes,
    resolve,
    write_atomic,
)
from index.parquet import native_file, read_parquet
from index.store.embedding_store import EmbeddingStore

__all__ = ["HoldingOutput", "StoreOutput", "holding_outputs", "register_output", "registered_outputs"]


@dataclass(frozen=True)
class StoreOutput:
    """An output of a store.

    kind: such as `selection`. path: the folder, absolute or a URL. files: globs below it of the Parquet, Arrow or CSV
    files whose column `row_id` has the rows. only, without: column -> value: of these files only the rows with that
    value count, or only those with another one (or null). finished: ISO time.
    """

    kind: str
    path: str
    files: tuple[str, ...]
    only: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""


@dataclass(frozen=True)
class HoldingOutput:
    """An output that holds forgotten rows. rows: how many of them, each counted once."""

    kind: str
    path: str
    rows: int


def register_output(
    store: EmbeddingStore,
    kind: str,
    path: str,
    files: tuple[str, ...],
    *,
    only: Mapping[str, str] | None = None,
    without: Mapping[str, str] | None = None,
) -> None:
    """Enter a finished output, once; nothing happens where the store cannot be written to."""
    place = fspath(local_path(path).absolute()) if is_local(path) else path
    entry = join(fspath(store.path), "outputs", f"{hash_json([kind, place])[:16]}.json")
    output = StoreOutput(kind, place, files, only or {}, without or {}, datetime.now(UTC).isoformat(timespec="seconds"))
    with suppress(ClipmineError, OSError):
        if not exists(entry):
            write_atomic(entry, json.dumps(asdict(output), indent=1) + "\n")


def registered_outputs(store: EmbeddingStore) -> list[StoreOutput]:
    """The outputs in the register, by path. Entries that cannot be read are skipped."""
    found = []
    folder = store.path / "outputs"
    for name in list_names(folder):
        if not name.endswith(".json"):
            continue
        with suppress(OSError, ValueError, TypeError, KeyError):
            plain = json.loads(read_bytes(folder / name))
            found.append(StoreOutput(**{**plain, "files": tuple(plain["files"])}))
    return sorted(found, key=lambda output: (output.path, output.kind))


def holding_outputs(store: EmbeddingStore) -> tuple[HoldingOutput, ...]:
    """The outputs that exist and hold rows which are forgotten now; reads their column of row ids."""
    forgotten = store.forgotten
    if not len(forgotten):
        return ()
    found = []
    for output in registered_outputs(store):
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *_row_ids(output)]))
        held = int(np.isin(rows, forgotten, assume_unique=True).sum())
        if held:
            found.append(HoldingOutput(output.kind, output.path, held))
    return tuple(found)


def _row_ids(output: StoreOutput) -> Iterator[npt.NDArray[np.int64]]:
    """The row ids in each file of an output. Files that cannot be read are skipped."""
    for file in _files(output):
        with suppress(OSError, pa.ArrowException, KeyError, ValueError, ClipmineError):
            yield _read(file, output)


def _files(output: StoreOutput) -> list[str]:
    if is_local(output.path):
        folder = local_path(output.path)
        return [fspath(file) for glob in output.files for file in sorted(folder.glob(glob))]
    with suppress(OSError, ValueError, ClipmineError):
        file_system, inside = resolve(output.path)
        scheme = output.path.partition("://")[0]
        return [
            f"{scheme}://{str(file).lstrip('/')}"
            for glob in output.files
            for file in file_system.glob(join(inside, glob))
        ]
    return []


def _read(file: str, output: StoreOutput) -> npt.NDArray[np.int64]:
    columns = ["row_id", *output.only, *output.without]
    if file.endswith(".csv"):
        options = pa_csv.ConvertOptions(include_columns=columns)
        with native_file(file) as stream:
            table = pa_csv.read_csv(stream, convert_options=options, parse_options=_QUOTED)
    elif file.endswith(".arrow"):
        with native_file(file) as stream:
            table = pa.ipc.open_file(stream).read_all().select(columns)
    else:
        table = read_parquet(file, columns)
    keep: Any = pc.is_valid(table["row_id"])
    for name, value in output.only.items():
        keep = pc.and_(keep, pc.fill_null(pc.equal(table[name], value), False))
    for name, value in output.without.items():
        keep = pc.and_(keep, pc.fill_null(pc.not_equal(table[name], value), True))
    rows: npt.NDArray[np.int64] = table["row_id"].filter(keep).cast(pa.int64()).to_numpy()
    return rows


# Captions may hold line breaks.
_QUOTED = pa_csv.ParseOptions(newlines_in_values=True)
