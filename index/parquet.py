"""Reading Parquet and other Arrow files so that no thread of Arrow holds a Python object.

A thread of Arrow's pool that lets go of a Python file while the process ends aborts the process: it asks for the
interpreter's lock, and an interpreter that ends kills the thread. So local files are opened by Arrow itself, and remote
ones, which are Python files, are decoded in the thread that asks.

`pyarrow.parquet.read_table` is not used: its dataset layer hands the file to the pool, and takes a folder named
`lr=1` above a file for a column of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.files import is_local, local_path, open_file

__all__ = ["native_file", "open_parquet", "read_parquet"]


@contextmanager
def open_parquet(path: str | os.PathLike[str], metadata: Any = None) -> Iterator[pq.ParquetFile]:
    """A local or remote Parquet file; metadata: its footer, where that was read before.

    Raises FileNotFoundError, another OSError, or an ArrowException where it is no Parquet file.
    """
    if is_local(path):
        with pq.ParquetFile(local_path(path), metadata=metadata) as file:
            yield file
        return
    # Arrow would fetch ahead in other threads; our stream reads blocks that grow.
    with open_file(path) as stream, pq.ParquetFile(stream, metadata=metadata, pre_buffer=False) as file:
        for name in ("read", "read_row_group", "read_row_groups", "iter_batches"):
            setattr(file, name, partial(getattr(file, name), use_threads=False))
        yield file


def read_parquet(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """These columns of a file, by default all. Raises as `open_parquet` does, and ArrowInvalid for a missing column."""
    with open_parquet(path) as file:
        missing = set(columns or ()) - set(file.schema_arrow.names)
        if missing:
            raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
        return file.read(columns=None if columns is None else list(columns))


@contextmanager
def native_file(path: str | os.PathLike[str]) -> Iterator[pa.NativeFile]:
    """A file that Arrow reads itself, for its readers of CSV and IPC; a remote one is copied to a temporary file."""
    if is_local(path):
        with pa.OSFile(os.fspath(local_path(path)), "rb") as file:
            yield file
        return
    with tempfile.NamedTemporaryFile() as copy:
        with open_file(path) as stream:
            shutil.copyfileobj(stream, copy, 1 << 20)
        copy.flush()
        with pa.OSFile(copy.name, "rb") as file:
            yield file
