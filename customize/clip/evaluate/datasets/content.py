"""What tells the files of an evaluation set from others: their names, sizes and times, without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from index import files

__all__ = ["content_of"]

_SAID = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "updated", "created")  # by remote storages, of a file


def content_of(root: str, paths: Iterable[str] | None = None) -> str:
    """A hash of the files `root/path`: of their names in `root`, sizes and times of change.

    paths: None: all files below `root`. A missing file counts as missing, since reading it gives the error.
    """
    if files.is_local(root):
        return files.hash_json(_local(files.local_path(root), paths))
    return files.hash_json(_remote(root, paths))


def _local(root: Path, paths: Iterable[str] | None) -> list[tuple[str, int, int]]:
    if paths is None:
        paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    found = []
    for path in sorted(paths):
        identity = files.file_identity(root / path)
        found.append((path, *(identity[1:] if identity is not None else (0, -1))))
    return found


def _remote(root: str, paths: Iterable[str] | None) -> list[tuple[str, list[str]]]:
    """One listing of the whole folder: asking for each of ImageNet's files would take hours."""
    file_system, inside = files.resolve(root)
    start = inside.rstrip("/") + "/"
    found = file_system.find(inside, detail=True)
    listed = {str(name).removeprefix(start).lstrip("/"): info for name, info in found.items()}
    wanted = sorted(listed if paths is None else paths)
    return [(path, [str(listed.get(path, {}).get(key)) for key in ("size", *_SAID)]) for path in wanted]
