"""Lists that a user passes to a command: a file, or "-" for standard input, with one entry a line and # comments."""

from __future__ import annotations

import sys

from index.errors import BadInput
from index.files import read_bytes


def read_lines(path: str, entry: str = "entry") -> list[str]:
    """The lines of a UTF-8 file ("-": standard input) that are neither empty nor start with "#".

    entry: what a line holds, for messages. Raises BadInput for a missing file, for bytes that are not UTF-8 and for a
    list without entries.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else read_bytes(path)
        lines = [line for line in data.decode().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadInput(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error})") from error
    if not lines:
        raise BadInput(f"{path}: is empty; write one {entry} a line")
    return lines


def read_numbers(path: str) -> list[int]:
    """The row ids of a file, one a line; BadInput names the first line that is not a whole number."""
    numbers = []
    for line in read_lines(path, "row id"):
        try:
            numbers.append(int(line))
        except ValueError:
            raise BadInput(f"{path}: {line.strip()!r} is not a row id; write one whole number a line") from None
    return numbers
