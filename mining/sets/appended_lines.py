"""Files of JSON lines that are only appended to, such as the decisions and the corrections that people make.

Each line is on the disk before `append_line` returns. A last line that is cut short, as a crash leaves it, is skipped
by the reader and removed by the next append; any other broken line is an error, since what it said might be lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from index.errors import BadInput
from index.files import disk_full, read_bytes

__all__ = ["append_line", "read_lines"]

Value = TypeVar("Value")

_LONGEST_LINE = 1 << 20  # bytes from the end that are searched for the start of the last line
_BROKEN = (ValueError, TypeError, KeyError, RecursionError, BadInput)


def read_lines(
    path: str | os.PathLike[str], parse: Callable[[bytes], Value], what: str, remedy: str
) -> tuple[list[Value], tuple[str, ...]]:
    """(the values of all lines, remarks on the file). Empty lines are skipped.

    parse: raises ValueError, TypeError, KeyError, RecursionError or BadInput for a broken line. what, remedy: of the
    error's message, such as "a decision" and "delete the line". Raises BadInput with the number of the first
    broken line.
    """
    name = os.fspath(path)
    lines = read_bytes(name).split(b"\n")
    unfinished = lines.pop()  # b"" where the last line has its line end
    values = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                values.append(parse(line))
            except _BROKEN as error:
                raise BadInput(f"{name}, line {number}: is not {what} ({_what(error)}); {remedy}") from error
    if not unfinished.strip():
        return values, ()
    try:  # only its line end is missing, as an editor may leave it
        return [*values, parse(unfinished)], ()
    except _BROKEN:
        return values, (f"{name}: its last line was cut short and is skipped",)


def append_line(path: Path, line: str, parse: Callable[[bytes], object]) -> None:
    """Append `line`, which has no line end; it is on the disk when this returns. Makes the file and its folder.

    parse: as `read_lines` takes it; tells a last line that was cut short. Raises DiskFull. One call at a time.
    """
    with disk_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with open(path, "a+b") as stream:
            _end_last_line(stream, parse)
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        if is_new:
            _sync_folder(path.parent)


def _end_last_line(stream: Any, parse: Callable[[bytes], object]) -> None:
    """Remove a last line that was cut short; add the line end where only that is missing."""
    tail = min(stream.seek(0, os.SEEK_END), _LONGEST_LINE)
    stream.seek(-tail, os.SEEK_END)
    rest = stream.read().rpartition(b"\n")[2]
    if not rest.strip():
        return
    try:
        parse(rest)
        stream.write(b"\n")  # in append mode every write goes to the end
    except _BROKEN:
        stream.truncate(stream.seek(0, os.SEEK_END) - len(rest))


def _sync_folder(folder: Path) -> None:
    """A file's name is in its folder, which has to be written too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _what(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
