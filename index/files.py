"""Reading and writing files through fsspec: a path may be local or a URL (s3://, gs://, hdfs://, memory://).

A written file appears whole or not at all: a local file is renamed into place, and an object store's put is atomic.
Files that are memory-mapped must be local; `local_path` checks that.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec

from index.errors import BadInput, DiskFull

__all__ = [
    "atomic_file",
    "disk_full",
    "exists",
    "file_identity",
    "file_size",
    "hash_json",
    "is_local",
    "join",
    "join_inside",
    "local_path",
    "make_folder",
    "open_file",
    "read_bytes",
    "read_bytes_range",
    "remove",
    "remove_partial",
    "resolve",
    "sha256_file",
    "write_atomic",
]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
# Why a folder cannot be made that another place of the user's choice mends.
_NO_FOLDER = frozenset(
    {errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
)
_PARTIAL = ".partial"
_CHUNK = 1 << 20


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a plain local path or a file:// URL."""
    text = os.fspath(path)
    return ("://" not in text and "::" not in text) or text.startswith(("file://", "local://"))


def local_path(path: str | os.PathLike[str]) -> Path:
    """The local path behind `path`; BadInput when it is remote (memory-mapped files must be local)."""
    text = os.fspath(path)
    if not is_local(text):
        raise BadInput(f"{text}: must be a local path here, since it is memory-mapped; copy it to a local disk first")
    return Path(text.removeprefix("file://").removeprefix("local://"))


def resolve(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """`(file system, path inside it)`; BadInput for an unknown protocol or one whose package is missing."""
    try:
        file_system, inside = fsspec.core.url_to_fs(os.fspath(path))
    except (ValueError, ImportError) as error:
        raise BadInput(f"{os.fspath(path)}: cannot be opened: {str(error).splitlines()[0]}") from error
    return file_system, inside


def join(root: str | os.PathLike[str], *parts: str) -> str:
    """`root/part/part`, for paths and URLs alike."""
    base = os.fspath(root)
    stem = base.rstrip("/") or ("/" if base.startswith("/") else "")
    return "/".join([stem if stem != "/" else "", *(part.strip("/") for part in parts)]) if stem else "/".join(parts)


def join_inside(root: str | os.PathLike[str], relative: str) -> str:
    """`join(root, relative)`, after checking that `relative` stays below `root`.

    For names that come from data, such as a store's `shard` column: BadInput when one is absolute or has `..` in it.
    """
    parts = relative.replace("\\", "/").split("/")
    if not relative or relative.startswith(("/", "\\")) or ".." in parts or "://" in relative or "::" in relative:
        raise BadInput(f"{relative!r}: leaves its folder {os.fspath(root)}; a shard must be named relative to it")
    return join(root, relative)


def open_file(path: str | os.PathLike[str], mode: str = "rb", buffering: int = -1) -> IO[Any]:
    """Open a local or remote file; use as a context manager. Text modes are UTF-8; `buffering` is for local files."""
    if is_local(path):
        return open(local_path(path), mode, buffering, encoding=None if "b" in mode else "utf-8")
    file_system, inside = resolve(path)
    opened: IO[Any] = file_system.open(inside, mode)
    return opened


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether the file or folder exists."""
    if is_local(path):
        return local_path(path).exists()
    file_system, inside = resolve(path)
    return bool(file_system.exists(inside))


def file_size(path: str | os.PathLike[str]) -> int:
    """Size in bytes; FileNotFoundError when the file does not exist."""
    if is_local(path):
        return local_path(path).stat().st_size
    file_system, inside = resolve(path)
    return int(file_system.size(inside))


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a local file from the one that replaces it: inode, time of change, size; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and its parents; no error when it exists.

    Raises BadInput where a local one cannot be: a file is in the way, or it is not ours to write there.
    """
    if is_local(path):
        try:
            local_path(path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            raise BadInput(f"{os.fspath(path)}: cannot be made ({error.strerror}); choose another folder") from error
    else:
        file_system, inside = resolve(path)
        file_system.makedirs(inside, exist_ok=True)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove one file; no error when it does not exist."""
    if is_local(path):
        local_path(path).unlink(missing_ok=True)
        return
    file_system, inside = resolve(path)
    if file_system.exists(inside):
        file_system.rm_file(inside)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file."""
    with open_file(path) as stream:
        data: bytes = stream.read()
    return data


def read_bytes_range(path: str | os.PathLike[str], offset: int, size: int) -> bytes:
    """`size` bytes from `offset`, in one ranged read; fewer when the file ends before."""
    if size <= 0:
        return b""
    if is_local(path):
        with open(local_path(path), "rb", buffering=0) as stream:
            return os.pread(stream.fileno(), size, offset)
    file_system, inside = resolve(path)
    return bytes(file_system.cat_file(inside, start=offset, end=offset + size))


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def hash_json(value: object) -> str:
    """Hex SHA-256 of `value` as JSON with sorted keys and no spaces: equal for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a local path to write to; when the block ends without an error, the whole file is at `path`.

    A local file is written under a hidden name in the same folder and renamed; a remote one is written to a temporary
    file and uploaded. After an error, `path` is as it was before. The hidden name holds process and thread, so that two
    writers of one file never mix.
    """
    if is_local(path):
        target = local_path(path)
        make_folder(target.parent)
        partial = target.parent / f".{target.name}.{os.getpid()}-{threading.get_ident()}{_PARTIAL}"
        with disk_full(target):
            try:
                yield partial
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        return
    import tempfile

    file_system, inside = resolve(path)
    with tempfile.TemporaryDirectory() as folder, disk_full(folder):
        partial = Path(folder) / "partial"
        yield partial
        file_system.put_file(str(partial), inside)


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8): afterwards `path` holds all of it or, after an error, is as it was before."""
    payload = data.encode() if isinstance(data, str) else data
    with atomic_file(path) as partial:
        partial.write_bytes(payload)


def remove_partial(folder: str | os.PathLike[str]) -> None:
    """Remove the partial files of killed writers directly in a local folder; call it while no writer is running."""
    if is_local(folder) and local_path(folder).is_dir():
        for leftover in local_path(folder).glob(f".*{_PARTIAL}"):
            leftover.unlink(missing_ok=True)


@contextmanager
def disk_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn "no space left" errors into DiskFull, which names `path`.

    numpy raises OSError without an errno for a short write, faiss raises RuntimeError, and safetensors an Exception of
    its own; these count when their text says so, or when the disk has no space left. Another OSError that names no file
    gets `path`, and another error of writing safetensors becomes an OSError.
    """
    try:
        yield
    except Exception as error:
        by_safetensors = type(error).__name__ == "SafetensorError" and "I/O error" in str(error)
        if not isinstance(error, OSError | RuntimeError) and not by_safetensors:
            raise
        if _means_no_space(error, path):
            raise DiskFull(
                f"{os.fspath(path)}: no space left on the disk; free some and run the same command again"
            ) from error
        if by_safetensors:
            raise OSError(errno.EIO, str(error).partition("I/O error: ")[2], os.fspath(path)) from error
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def _means_no_space(error: Exception, path: str | os.PathLike[str]) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_SPACE
    text = str(error)
    if "No space left" in text or "quota exceeded" in text:
        return True
    short_write = " requested and " in text and " written" in text
    if not short_write or not is_local(path):
        return False
    folder = local_path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free < _CHUNK
