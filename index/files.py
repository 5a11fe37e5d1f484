"""Reading and writing files through fsspec: a path may be local or a URL (s3://, gs://, hdfs://, memory://).

A written file appears whole or not at all: a local file is renamed into place, and an object store's put is atomic.
Remote operations that fail are tried again (`index.remote`). Files that are memory-mapped must be local: `local_path`
checks that, and `index.local_copy` copies remote ones.

A `Path` may stand for a URL, so that code which joins paths serves both: Path("/s3:/bucket/store") is s3://bucket/store
(`as_path`, `as_url`). All functions here take it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from index.errors import STANDS_FOR_URL, BadInput, DiskFull
from index.remote import OBJECT_STORES, attempt, open_system, time_limit
from index.remote_file import open_remote, read_range

__all__ = [
    "as_path",
    "as_url",
    "atomic_file",
    "disk_full",
    "exists",
    "file_identity",
    "file_size",
    "hash_json",
    "is_local",
    "join",
    "join_inside",
    "list_names",
    "list_sizes",
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
_STANDS_FOR_URL = re.compile(STANDS_FOR_URL)


def as_path(path: str | os.PathLike[str]) -> Path:
    """An absolute path: of a local file or folder, or one that stands for a URL; BadInput for a chained URL."""
    text = as_url(path)
    if is_local(text) or "::" in text:
        return local_path(text).absolute()
    protocol, _, rest = text.partition("://")
    return Path(f"/{protocol}:/{rest.strip('/')}")


def as_url(path: str | os.PathLike[str]) -> str:
    """The URL that a path of `as_path` stands for; another path or URL as it is."""
    text = os.fspath(path)
    stands_for = _STANDS_FOR_URL.match(text)
    return f"{stands_for[1]}://{text[stands_for.end() :]}" if stands_for else text


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a plain local path or a file:// URL."""
    text = as_url(path)
    return ("://" not in text and "::" not in text) or text.startswith(("file://", "local://"))


def local_path(path: str | os.PathLike[str]) -> Path:
    """The local path behind `path`; BadInput when it is remote (memory-mapped files must be local)."""
    text = as_url(path)
    if not is_local(text):
        raise BadInput(f"{text}: must be a local path here, since it is memory-mapped; copy it to a local disk first")
    return Path(text.removeprefix("file://").removeprefix("local://"))


def resolve(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """`(file system, path inside it)`; BadInput for an unknown protocol or one whose package is missing."""
    return open_system(as_url(path))


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
    if mode == "rb":
        return open_remote(as_url(path))
    if mode == "r":
        return io.TextIOWrapper(open_remote(as_url(path)), encoding="utf-8")
    file_system, inside = resolve(path)
    opened: IO[Any] = file_system.open(inside, mode)
    return opened


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether the file or folder exists."""
    if is_local(path):
        return local_path(path).exists()
    return _info(path) is not None


def file_size(path: str | os.PathLike[str]) -> int:
    """Size in bytes; FileNotFoundError when the file does not exist."""
    if is_local(path):
        return local_path(path).stat().st_size
    found = _info(path)
    if found is None or found["type"] == "directory":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), as_url(path))
    return int(found["size"])


def list_names(folder: str | os.PathLike[str]) -> list[str]:
    """The names of what is directly in a folder, ascending; none when there is no such folder."""
    if is_local(folder):
        own = local_path(folder)
        return sorted(entry.name for entry in own.iterdir()) if own.is_dir() else []
    return sorted(name for name, _ in _list_remote(folder))


def list_sizes(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Sizes in bytes of the files directly in a folder, by their names; none when there is no such folder."""
    if is_local(folder):
        own = local_path(folder)
        found = {each.name: file_identity(each) for each in own.iterdir() if each.is_file()} if own.is_dir() else {}
        return {name: each[2] for name, each in found.items() if each}  # one that was deleted meanwhile is left out
    return {name: int(found["size"]) for name, found in _list_remote(folder) if found["type"] == "file"}


def _list_remote(folder: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names in a remote folder, and what its file system says of each; some name the folder itself as well."""
    file_system, inside = resolve(folder)
    with suppress(FileNotFoundError, NotADirectoryError):
        for each in attempt(as_url(folder), lambda: file_system.ls(inside, detail=True)):
            path = str(each["name"]).strip("/")
            if path != inside.strip("/"):
                yield path.rpartition("/")[2], each


def _info(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a remote file system says of a file or folder; None when there is none.

    Its own `exists` and `isdir` also say no when the storage does not answer.
    """
    file_system, inside = resolve(path)
    try:
        return dict(attempt(as_url(path), lambda: file_system.info(inside)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def file_identity(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """What tells a file from the one that replaces it; None when there is none.

    Of a local file inode, time of change and size; of a remote one a hash of what its storage says of it.
    """
    if not is_local(path):
        found = _info(path)
        if found is None:
            return None
        said = [found.get(name) for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "updated", "created")]
        return int(hash_json([str(each) for each in said])[:15], 16), 0, int(found["size"] or 0)
    try:
        own = local_path(path).stat()
    except FileNotFoundError:
        return None
    return own.st_ino, own.st_mtime_ns, own.st_size


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
    elif as_url(path).partition("://")[0] not in OBJECT_STORES:  # which have no folders
        file_system, inside = resolve(path)
        attempt(as_url(path), lambda: file_system.makedirs(inside, exist_ok=True))


def remove(path: str | os.PathLike[str]) -> None:
    """Remove one file; no error when it does not exist."""
    if is_local(path):
        local_path(path).unlink(missing_ok=True)
        return
    file_system, inside = resolve(path)
    with suppress(FileNotFoundError):
        attempt(as_url(path), lambda: file_system.rm_file(inside))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file."""
    if is_local(path):
        return local_path(path).read_bytes()
    file_system, inside = resolve(path)

    def read() -> bytes:
        size = int(file_system.info(inside)["size"])
        data = bytes(file_system.cat_file(inside, **time_limit(file_system, size)))
        if len(data) != size:  # cut off, or replaced meanwhile
            raise ConnectionError(f"{len(data):,} bytes came instead of {size:,}")
        return data

    return attempt(as_url(path), read)


def read_bytes_range(path: str | os.PathLike[str], offset: int, size: int) -> bytes:
    """`size` bytes from `offset`, in one ranged read; fewer when the file ends before."""
    if size <= 0:
        return b""
    if is_local(path):
        with open(local_path(path), "rb", buffering=0) as stream:
            return os.pread(stream.fileno(), size, offset)
    return read_range(as_url(path), offset, offset + size, whole=False)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open_file(path) as stream:
        return hashlib.file_digest(cast(Any, stream), "sha256").hexdigest()


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
        limit = time_limit(file_system, partial.stat().st_size)
        attempt(as_url(path), lambda: file_system.put_file(str(partial), inside, **limit))


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
