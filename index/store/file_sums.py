"""Checksums of a store's files: of all bytes, or of a sample of them that takes no time whatever the file's size.

A sample tells a replaced file from the one that was adopted: three blocks of other vectors, or the footer of another
Parquet file, differ. It does not see a change between the blocks; `clipmine adopt --checksums` records sums that do.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from os import PathLike
from pathlib import Path

from index.errors import StoreInvalid
from index.store.store_manifest import Part, part_file

__all__ = ["check_samples", "sample_file"]

_BLOCK = 4_096  # a page: what a disk reads at least


def sample_file(path: str | PathLike[str]) -> str:
    """Hash (32 hex digits) of a local file's size and of its first, middle and last 4 KiB; OSError if unreadable."""
    opened = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(opened).st_size
        found = blake2b(str(size).encode(), digest_size=16)
        for start in sorted({0, size // 2 // _BLOCK * _BLOCK, max(0, size - _BLOCK)}):
            found.update(os.pread(opened, _BLOCK, start))
    finally:
        os.close(opened)
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
