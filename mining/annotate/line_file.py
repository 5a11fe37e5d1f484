"""Files of JSON lines that a run appends to, several a second; a killed run may leave a last line that is cut short.

A line is given to the system as soon as it is appended, so it outlives the process; it is on the disk within a second,
or when the file is closed. `mining.sets.appended_lines` is for the few lines that people write.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from index.errors import BadInput, ClipmineError
from index.files import disk_full

__all__ = ["LineFile", "whole_lines"]

_SYNC_SECONDS = 1.0


class LineFile:
    """A file of JSON lines, opened to append to it. One writer at a time; close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Make the file and its folder where they are not there; a last line that was cut short is removed."""
        self.path = path
        with disk_full(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = self._after_last_line()
        self._cut()
        self._synced = time.monotonic()

    def append(self, value: Any) -> tuple[int, int]:
        """Write a line; returns (offset, length) of it without its line end.

        Raises DiskFull, and ClipmineError for another error of the disk; no part of the line is left.
        """
        line = json.dumps(value).encode() + b"\n"
        with self._told():
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError:
                self._cut()
                raise
        offset, self._end = self._end, self._end + len(line)
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()
        return offset, len(line) - 1

    def read(self, offset: int, length: int) -> bytes:
        """A line that `append` wrote."""
        return os.pread(self._file, length, offset)

    def sync(self) -> None:
        """Wait until all lines are on the disk. Raises as `append` does."""
        with self._told():
            os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        if self._file >= 0:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = -1

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the file in an error of the system, which knows only its number."""
        try:
            with disk_full(self.path):
                yield
        except OSError as error:
            why = error.strerror or str(error)
            raise ClipmineError(f"{self.path}: cannot be written ({why}); mend that and run this again") from error

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cut(self) -> None:
        """Remove what is behind the last whole line, and write there next."""
        os.ftruncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)

    def _after_last_line(self) -> int:
        """The offset after the last line end."""
        end = os.fstat(self._file).st_size
        while end:
            size = min(1 << 16, end)
            found = os.pread(self._file, size, end - size).rfind(b"\n")
            if found >= 0:
                return end - size + found + 1
            end -= size
        return 0


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line without its end) of all lines that have an end; none for a file that is not there."""
    if not path.exists():
        return
    offset = 0
    try:
        with open(path, "rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                yield offset, line[:-1]
                offset += len(line)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
