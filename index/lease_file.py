"""The file of a lease, which several machines may write at once: only one of them may make it, replace it or delete it.

    made = create(path, data)                       # False where there is one
    held = read(path)                               # what is in it, and which version of it that is
    replaced = replace(path, data, held.version)    # False where another process has replaced it since

On a local disk `create` is exclusive, and `replace` relies on the lock that its caller holds. On S3 both are decided by
the store (If-None-Match, If-Match: of any number of processes one succeeds). Where a storage has no such conditions,
the last writer wins, and `is_decided` is False: a process waits and reads again whether the file is still its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from index.files import (
    as_url,
    disk_full,
    file_identity,
    is_local,
    local_path,
    read_bytes,
    remove,
    resolve,
    write_atomic,
)
from index.remote import attempt, error_code

__all__ = ["Held", "create", "is_decided", "read", "remove", "replace"]

# What S3 says where a condition is not met, and where two conditional writes meet.
_LOST = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_CONDITIONAL = ("s3://", "s3a://")


@dataclass(frozen=True)
class Held:
    """The content of a lease file, {} for a damaged one, and what tells this version from others."""

    content: Mapping[str, Any]
    version: str | None


def is_decided(path: str) -> bool:
    """Whether the storage is known to decide between two writers; some that speak S3's protocol ignore conditions."""
    return is_local(path)


def create(path: str, data: bytes) -> bool:
    """Write the file unless there is one; whether it was written."""
    if not is_local(path):
        return _create_remote(path, data)
    own = local_path(path)
    try:
        created = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    try:
        with disk_full(own), os.fdopen(created, "wb") as stream:
            stream.write(data)
    except BaseException:
        own.unlink(missing_ok=True)
        raise
    return True


def read(path: str) -> Held | None:
    """The file's content and version; None when there is none."""
    while True:
        version = _version(path)
        try:
            plain = json.loads(read_bytes(path))
        except FileNotFoundError:
            return None
        except ValueError:
            plain = {}
        if _version(path) == version:  # else another process has replaced it meanwhile
            return Held(plain if isinstance(plain, dict) else {}, version)


def replace(path: str, data: bytes, version: str | None) -> bool:
    """Replace that version of the file; whether it was still there."""
    if version is None or not as_url(path).startswith(_CONDITIONAL):
        write_atomic(path, data)
        return True
    file_system, inside = resolve(path)
    try:
        attempt(path, lambda: file_system.pipe_file(inside, data, IfMatch=version))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error_code(error) not in _LOST:
            raise
        return _is_written(path, data)
    return True


def _is_written(path: str, data: bytes) -> bool:
    """Whether a write that was refused had succeeded before, and its answer was lost: it was tried again."""
    held = read(path)
    return held is not None and json.loads(data) == dict(held.content)


def _create_remote(path: str, data: bytes) -> bool:
    file_system, inside = resolve(path)
    try:
        attempt(path, lambda: file_system.pipe_file(inside, data, mode="create"))
    except OSError as error:
        if not isinstance(error, FileExistsError) and error_code(error) not in _LOST:
            raise
        return _is_written(path, data)
    except (TypeError, ValueError, NotImplementedError):  # it cannot write only where nothing is
        if file_identity(path) is not None:
            return False
        attempt(path, lambda: file_system.pipe_file(inside, data))
    return True


def _version(path: str) -> str | None:
    """S3's ETag; None for other storage, where nothing asks for it."""
    if not as_url(path).startswith(_CONDITIONAL):
        return None
    file_system, inside = resolve(path)
    with suppress(FileNotFoundError):
        return str(attempt(path, lambda: file_system.info(inside)).get("ETag") or "") or None
    return None
