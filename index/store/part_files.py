"""The files of a store's parts, and its lists of forgotten rows, wherever the store is.

Of a remote store, a part's file is copied to this machine's disk when it is first asked for, and compared with the
manifest.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from os import F_OK, access, fspath, listdir
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.files import as_url, is_local, join_inside, list_names, read_bytes
from index.local_copy import current_copy, local_copy
from index.store.store_manifest import Part

__all__ = ["ForgottenRows", "forgotten_names", "part_file", "part_path", "read_forgotten"]

_FOLDER = "forgotten"
# Seconds after which the lists of forgotten rows of a remote store are asked for again.
_ASKED_EVERY = 10.0


class ForgottenRows:
    """The rows that a store has forgotten, read again when its lists have changed. Safe for threads."""

    def __init__(self, store: Path) -> None:
        self._store, self._is_local = store, is_local(store)
        self._folder = fspath(store / _FOLDER)  # a string, since every search lists it
        self._known: tuple[list[str], npt.NDArray[np.int64]] = ([], np.empty(0, np.int64))
        self._asked = -_ASKED_EVERY

    def rows(self) -> npt.NDArray[np.int64]:
        """Row ids, ascending; the same array until a list is added."""
        known, rows = self._known
        if self._is_local:
            # Every search asks this, so it is kept cheap: no Path object, and no exception when nothing is forgotten.
            names = listdir(self._folder) if access(self._folder, F_OK) else []  # noqa: PTH208
        elif time.monotonic() - self._asked < _ASKED_EVERY:
            return rows
        else:
            names = forgotten_names(self._store)
            self._asked = time.monotonic()
        if names != known:
            rows = read_forgotten(self._store, [name for name in names if name.endswith(".npy")])
            self._known = (names, rows)
        return rows

    def ask(self) -> None:
        """Read the lists of a remote store again at once, after one was written."""
        self._asked = -_ASKED_EVERY


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
