"""Checksums of a store's files: of all bytes, or of a sample of them that takes no time whatever the file's size.

A sample tells a replaced file from the one that was adopted: three blocks of other vectors, or the footer of another
Parquet file, differ. It does not see a change between the blocks; `clipmine adopt --checksums` records sums that do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from os import PathLike
from pathlib import Path

from index.errors import StoreInvalid
from index.files import file_size, is_local, read_bytes_range
from index.store.part_files import part_file
from index.store.store_manifest import Part

__all__ = ["check_samples", "sample_bytes", "sample_file"]

_BLOCK = 4_096  # a page: what a disk reads at least


def sample_file(path: str | PathLike[str]) -> str:
    """Hash (32 hex digits) of a file's size and of its first, middle and last 4 KiB; OSError if unreadable."""
    if not is_local(path):
        return _hash(file_size(path), lambda start: read_bytes_range(path, start, _BLOCK))
    opened = os.open(path, os.O_RDONLY)
    try:
        return _hash(os.fstat(opened).st_size, lambda start: os.pread(opened, _BLOCK, start))
    finally:
        os.close(opened)


def sample_bytes(data: bytes) -> str:
    """`sample_file` of a file with this content."""
    return _hash(len(data), lambda start: data[start : start + _BLOCK])


def _hash(size: int, read: Callable[[int], bytes]) -> str:
    found = blake2b(str(size).encode(), digest_size=16)
    for start in sorted({0, size // 2 // _BLOCK * _BLOCK, max(0, size - _BLOCK)}):
        found.update(read(start))
    return found.hexdigest()


def check_samples(store: Path, part: Part) -> None:
    """Compare samples of a part's files with those that its adoption recorded; StoreInvalid names a replaced file."""
    for kind, record in part.files.items():
        if record.sample is None:
            continue
        file = part_file(store, part, kind)
        try:
            same = sample_file(file) == record.sample
        except FileNotFoundError as error:
            raise StoreInvalid(f"{file}: is missing") from error
        if not same:
            raise StoreInvalid(
                f"part {part.name} of the store: {file} was replaced since the store was adopted; restore it, or run "
                f"`clipmine adopt {store}` and then `clipmine index {store}` again"
            )
