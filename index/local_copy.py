"""Copies of remote files on this machine's disk, for what maps files into memory: vectors, graphs, look-up files.

    local_copy(store / "img_emb/img_emb_0000.npy", size, sha256=...)

A copy is named by the file's URL and by what its content is, so a file that is replaced gets another copy, and a copy
never becomes stale. It appears whole or not at all, after its length and checksum were compared. Copies are kept in
`CLIPMINE_CACHE` (by default ~/.cache/clipmine); those that were not used for longest are removed when they take more
than `CLIPMINE_CACHE_SIZE`, or the disk gets full. Processes of a machine share them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from index.errors import BadInput, RemoteDown, StoreInvalid
from index.files import as_url, atomic_file, file_identity, hash_json, is_local, local_path
from index.remote_file import copy_remote
from index.sizes import parse_bytes

__all__ = ["cache_folder", "current_copy", "local_copy"]

# Seconds after its last use in which a copy is not removed: a process may be about to map it.
_IN_USE = 600.0
# The share of a disk that copies leave free.
_KEPT_FREE = 0.05


def cache_folder() -> Path:
    """The folder of copies: CLIPMINE_CACHE, else clipmine in XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("CLIPMINE_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clipmine"


def current_copy(path: Path) -> Path:
    """The file itself if it is local, else a copy of what it holds now; FileNotFoundError when there is none."""
    if is_local(path):
        return local_path(path)
    for _ in range(3):  # a file that is replaced while it is copied is copied again
        identity = file_identity(path)
        if identity is None:
            raise FileNotFoundError(2, "No such file", as_url(path))
        copied = local_copy(path, identity[2], version=str(identity))
        if file_identity(path) == identity:
            return copied
    raise RemoteDown(f"{as_url(path)}: is replaced again and again while it is read; run the same command again")


def local_copy(path: Path, size: int, *, sha256: str | None = None, version: str | None = None) -> Path:
    """The file itself if it is local, unchecked; else a copy of it.

    Args:
        path: a local path, or one that stands for a URL (`index.files.as_path`).
        size: bytes that it must have.
        sha256: that it must have, if known.
        version: what tells its content from others', where there is no sha256.

    Raises:
        StoreInvalid: a remote file is missing, or is not what size and checksum say.
        RemoteDown: its storage does not answer.
        DiskFull: the disk of the copies is full.
    """
    if is_local(path):
        return path
    url = as_url(path)
    target = cache_folder() / f"{hash_json([url, size, sha256, version])[:32]}-{path.name}"
    if _is_there(target, size):
        return target
    with _one_at_a_time(target):
        if _is_there(target, size):  # another process has copied it
            return target
        _make_room(target.parent, size)
        digest = hashlib.sha256()
        try:
            found = file_identity(path)
            if found is None:
                raise StoreInvalid(f"{url}: is missing")
            if found[2] != size:
                raise StoreInvalid(f"{url}: has {found[2]:,} bytes instead of {size:,}")
            with atomic_file(target) as partial:
                with open(partial, "wb") as sink:
                    copy_remote(url, size, sink, digest.update if sha256 else None)
                if sha256 is not None and digest.hexdigest() != sha256:
                    raise StoreInvalid(f"{url}: has changed: its SHA-256 is another than was recorded")
        except FileNotFoundError as error:
            raise StoreInvalid(f"{url}: is missing") from error
    return target


def _is_there(target: Path, size: int) -> bool:
    try:
        if target.stat().st_size != size:
            return False
        os.utime(target)  # when it was used last
    except FileNotFoundError:
        return False
    except OSError:  # another user's copy, which is as good
        return True
    return True


@contextmanager
def _one_at_a_time(target: Path) -> Iterator[None]:
    """While it is open no other process of this machine copies the file; it waits for one that does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / ".locks" / target.name[:2]
    path.parent.mkdir(exist_ok=True)
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):  # a disk without locks: both copy, and one copy stays
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _make_room(folder: Path, size: int) -> None:
    """Remove the copies that were not used for longest until `size` more bytes fit; those in use stay."""
    limit = _limit()
    disk = shutil.disk_usage(folder)
    wanted = size - (disk.free - int(_KEPT_FREE * disk.total))
    if limit is None and wanted <= 0:
        return
    copies = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            if entry.is_file() and not entry.name.startswith("."):
                found = entry.stat()
                copies.append((found.st_mtime, found.st_size, entry.path))
    if limit is not None:
        wanted = max(wanted, size + sum(each for _, each, _ in copies) - limit)
    for used, each, path in sorted(copies):
        if wanted <= 0 or used > time.time() - _IN_USE:
            return
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108
            wanted -= each


def _limit() -> int | None:
    text = os.environ.get("CLIPMINE_CACHE_SIZE")
    if not text:
        return None
    try:
        return parse_bytes(text)
    except BadInput as error:
        raise BadInput(f"CLIPMINE_CACHE_SIZE: {error}") from None
