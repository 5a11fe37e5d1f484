"""Lists that a user hands over: a file with one entry a line, or stdin."""

from __future__ import annotations

import sys

from index.errors import BadInput
from index.files import read_bytes


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file ("-": stdin) that are not empty; BadInput when there are none, or no such file."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else read_bytes(path)
        lines = [line for line in data.decode().splitlines() if line.strip()]
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error})") from error
    if not lines:
        raise BadInput(f"{path}: is empty; write one entry a line")
    return lines


def read_numbers(path: str) -> list[int]:
    """The whole numbers of a file, one a line; BadInput names the first line that is none."""
    numbers = []
    for line in read_lines(path):
        try:
            numbers.append(int(line))
        except ValueError:
            raise BadInput(f"{path}: {line.strip()!r} is no row id; write one whole number a line") from None
    return numbers
