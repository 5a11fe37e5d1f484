"""People's decisions about image sets, in a file with one JSON line a decision; mining skips the rejected sets.

    {"rows": [12, 345], "strategy": "similar", "decision": "reject", "time": "2026-11-21T12:00:00+00:00"}

`rows`, in any order, identify the set, whatever strategy found it. Of several lines about one set the last one counts,
so a "keep" undoes a rejection. Lines are only appended, and each is on the disk before the call returns. A last line
that is cut short, as a crash leaves it, is skipped; any other broken line is an error, since a rejection might be lost.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from index.errors import BadInput
from index.files import disk_full, exists, local_path, read_bytes

__all__ = ["Decision", "Decisions", "DecisionsFile", "read_decisions"]

Decision = Literal["reject", "keep"]
Rows = tuple[int, ...]

_LONGEST_LINE = 1 << 20  # bytes from the end that are searched for the start of the last line: 50,000 row ids


@dataclass(frozen=True)
class Decisions:
    """The last decision on each set, by its sorted row ids. notes: remarks on the file, for the summary of a run."""

    last: dict[Rows, Decision] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rejected(self) -> frozenset[Rows]:
        """Sorted row ids of the sets that are rejected."""
        return frozenset(rows for rows, decision in self.last.items() if decision == "reject")

    def of(self, rows: Sequence[int]) -> Decision | None:
        """The decision on the set of these rows, in any order; None without one."""
        return self.last.get(tuple(sorted(rows)))


def read_decisions(path: str | os.PathLike[str]) -> Decisions:
    """Read a decisions file.

    Raises:
        BadInput: there is no such file, or a line is broken; the message names file, line and remedy.
    """
    name = os.fspath(path)
    if not exists(name):
        raise BadInput(f"{name}: there is no such decisions file; `clipmine serve STORE --pairs PAIRS` writes one")
    lines = read_bytes(name).split(b"\n")
    unfinished = lines.pop()  # b"" where the last line has its line end
    last: dict[Rows, Decision] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows, decision = _parse(line)
            except (ValueError, TypeError, KeyError) as error:
                raise BadInput(
                    f"{name}, line {number}: is not a decision ({_what(error)}); delete the line, or correct it to "
                    '{"rows": [12, 345], "strategy": "similar", "decision": "reject", "time": "..."}'
                ) from error
            last[rows] = decision
    notes: tuple[str, ...] = ()
    if unfinished.strip():
        try:  # only its line end is missing, as an editor may leave it
            rows, decision = _parse(unfinished)
            last[rows] = decision
        except (ValueError, TypeError, KeyError):
            notes = (f"{name}: its last line was cut short and is skipped",)
    return Decisions(last, notes)


class DecisionsFile:
    """A local decisions file that is open for appending. Safe for threads of one process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the decisions so far; the file may be missing. Raises BadInput for a remote path or a broken file."""
        self.path: Path = local_path(path)
        self._lock = threading.Lock()
        self._last = read_decisions(self.path).last if self.path.exists() else {}

    def of(self, rows: Sequence[int]) -> Decision | None:
        return self._last.get(tuple(sorted(rows)))

    def add(self, rows: Sequence[int], strategy: str, decision: Decision) -> None:
        """Append one decision; it is on the disk when this returns."""
        if decision not in get_args(Decision):
            raise BadInput(f"decision {decision!r}: choose {' or '.join(get_args(Decision))}")
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"rows": list(rows), "strategy": strategy, "decision": decision, "time": time}) + "\n"
        with self._lock, disk_full(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as stream:
                _end_last_line(stream)
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
            self._last[tuple(sorted(rows))] = decision


def _end_last_line(stream: Any) -> None:
    """Remove a last line that was cut short; add the line end where only that is missing."""
    tail = min(stream.seek(0, os.SEEK_END), _LONGEST_LINE)
    stream.seek(-tail, os.SEEK_END)
    rest = stream.read().rpartition(b"\n")[2]
    if not rest.strip():
        return
    try:
        _parse(rest)
        stream.write(b"\n")  # in append mode every write goes to the end
    except (ValueError, TypeError, KeyError):
        stream.truncate(stream.seek(0, os.SEEK_END) - len(rest))


def _parse(line: bytes) -> tuple[Rows, Decision]:
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    rows, decision = value["rows"], value["decision"]
    if not isinstance(rows, list) or len(rows) < 2 or not all(type(row) is int and row >= 0 for row in rows):
        raise ValueError("rows is not a list of two or more row ids")
    if decision not in get_args(Decision):
        raise ValueError(f"decision is {decision!r}, neither reject nor keep")
    return tuple(sorted(rows)), decision


def _what(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
