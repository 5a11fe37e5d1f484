"""What a folder of files holds: bytes and times of every file, for tests of jobs that promise the same bytes.

before = file_times(folder)
run_again()
assert file_times(folder) == before       # nothing was written again
assert file_bytes(folder) == file_bytes(other)
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["file_bytes", "file_times"]

# Names are paths within the folder, with / between their parts on every system.


def file_bytes(folder: Path | str) -> dict[str, bytes]:
    """The bytes of every file below `folder`, hidden ones too, by its path in it; sorted by path."""
    root = Path(folder)
    return {name: (root / name).read_bytes() for name in _names(root)}


def file_times(folder: Path | str) -> dict[str, int]:
    """When every file below `folder` was last written, in nanoseconds, by its path in it."""
    root = Path(folder)
    return {name: (root / name).stat().st_mtime_ns for name in _names(root)}


def _names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
