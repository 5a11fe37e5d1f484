"""Notes of the files that a compaction overwrites in an adopted store, kept until its manifest has their new records.

    STORE/compacting/img_emb_0.npy.json       the record of that file as it will be, written before it is overwritten

A compaction that was interrupted leaves files that are not those of the manifest. `clipmine adopt` would take them for
files that the user has replaced, and the indexes over them for stale; by these notes it knows them as the store's own.
"""

from __future__ import annotations

import json
from os import fspath
from pathlib import Path

from index.files import exists, join, read_bytes, write_atomic
from index.outputs import remove_folder
from index.store.store_manifest import FileRecord

__all__ = ["drop_notes", "note_overwriting", "noted"]

_FOLDER = "compacting"


def note_overwriting(store: Path, record: FileRecord) -> None:
    """Write down the record that a file has after it is overwritten; call it before."""
    write_atomic(_path(store, record.path), json.dumps(record.to_json()) + "\n")


def noted(store: Path, path: str) -> FileRecord | None:
    """The record that an interrupted compaction gave to a file (relative to the store), if it got that far."""
    note = _path(store, path)
    if not exists(note):
        return None
    try:
        return FileRecord.from_json(json.loads(read_bytes(note)))
    except (ValueError, TypeError):
        return None


def drop_notes(store: Path) -> None:
    """Remove the notes, after the manifest has been written."""
    remove_folder(store / _FOLDER)


def _path(store: Path, path: str) -> str:
    return join(fspath(store), _FOLDER, path.rpartition("/")[2] + ".json")
