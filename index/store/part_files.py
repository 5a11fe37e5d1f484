"""The files of a store's parts, and its lists of forgotten rows, wherever the store is.

Of a remote store, a part's file is copied to this machine's disk when it is first asked for, and compared with the
manifest.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.files import as_url, is_local, join_inside, list_names, read_bytes
from index.local_copy import current_copy, local_copy
from index.store.store_manifest import Part

__all__ = ["forgotten_names", "part_file", "part_path", "read_forgotten"]

_FOLDER = "forgotten"


def part_path(store: Path, part: Part, kind: str) -> Path:
    """Where a part's "image", "text", "metadata" or "rejects" file is; BadInput when it would lie outside the store."""
    return Path(join_inside(store, part.files[kind].path))


def part_file(store: Path, part: Part, kind: str) -> Path:
    """The local file of a part: its own, or a copy of that of a remote store.

    Raises:
        StoreInvalid: the file of a remote store is missing, or is not what the manifest says.
    """
    path, record = part_path(store, part, kind), part.files[kind]
    if is_local(path):
        return path
    try:
        return local_copy(path, record.size, sha256=record.sha256, version=record.sample)
    except StoreInvalid:
        # Compaction overwrites files before the manifest, and only of parts with forgotten rows.
        rows = read_forgotten(store, forgotten_names(store))
        low, high = np.searchsorted(rows, [part.first_row, part.first_row + part.rows])
        if low == high:
            raise
    try:
        return current_copy(path)
    except FileNotFoundError as error:
        raise StoreInvalid(f"{as_url(path)}: is missing") from error


def forgotten_names(store: Path) -> list[str]:
    """The names of the lists of forgotten rows."""
    return [name for name in list_names(store / _FOLDER) if name.endswith(".npy")]


def read_forgotten(store: Path, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The row ids in these lists, ascending; StoreInvalid for a damaged list."""
    lists = [_read_list(store / _FOLDER / name) for name in names]
    return np.unique(np.concatenate(lists)).astype(np.int64) if lists else np.empty(0, np.int64)


def _read_list(path: Path) -> npt.NDArray[np.int64]:
    try:
        rows: npt.NDArray[np.int64] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, OSError) as error:
        raise StoreInvalid(
            f"{as_url(path)}: this list of forgotten rows is damaged; restore it, or forget its rows again"
        ) from error
    return rows
