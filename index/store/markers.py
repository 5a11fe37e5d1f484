"""Markers of embedded items: `done/NNNN.json` of a store says which source an item had and what was written for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from index.files import join, read_bytes, remove, write_atomic
from index.store.store_manifest import FileRecord

__all__ = [
    "ItemSummary",
    "Marker",
    "marker_from_json",
    "marker_to_json",
    "read_marker",
    "remove_marker",
    "write_marker",
]


@dataclass(frozen=True)
class ItemSummary:
    """The counts of one item: read = rows + the sum of rejected.

    Attributes:
        rejected: by reason.
        captions_cut: rows whose caption is longer than the text tower's context.
        passed_over: members of a tar that are no part of any sample, by kind (`index.corpus.samples.PassedOver`).
        passed_names: some of them.
        without_caption: rows with an empty caption; their text vector is zero.
    """

    number: int
    read: int
    rows: int
    rejected: Mapping[str, int]
    captions_cut: int
    passed_over: Mapping[str, int] = field(default_factory=dict)
    passed_names: Sequence[str] = ()
    without_caption: int = 0


@dataclass(frozen=True)
class Marker:
    """What a marker holds. It is written after an item's files, so its existence means that they are complete."""

    signature: str  # of the item's source files, by names and sizes
    config_hash: str
    model: Mapping[str, Any]
    summary: ItemSummary
    files: Mapping[str, FileRecord] = field(default_factory=dict)


def marker_to_json(marker: Marker) -> dict[str, Any]:
    """The marker as plain JSON data."""
    plain = asdict(marker) | {"files": {kind: record.to_json() for kind, record in marker.files.items()}}
    for name in ("passed_over", "passed_names", "without_caption"):
        if not plain["summary"][name]:
            del plain["summary"][name]
    return plain


def marker_from_json(plain: Mapping[str, Any]) -> Marker:
    """The marker that `marker_to_json` wrote; ValueError, TypeError, KeyError or AttributeError for anything else."""
    files = {kind: FileRecord.from_json(record) for kind, record in plain["files"].items()}
    return Marker(**{**plain, "summary": ItemSummary(**plain["summary"]), "files": files})


def read_marker(out: str, number: int) -> Marker | None:
    """An item's marker; None when it does not exist or cannot be read."""
    try:
        return marker_from_json(json.loads(read_bytes(_path(out, number))))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_marker(out: str, number: int, marker: Marker) -> None:
    """Write an item's marker; call it after the item's files are written."""
    write_atomic(_path(out, number), json.dumps(marker_to_json(marker), indent=1, sort_keys=True) + "\n")


def remove_marker(out: str, number: int) -> None:
    """Delete an item's marker; call it before the files that it lists are replaced."""
    remove(_path(out, number))


def _path(out: str, number: int) -> str:
    return join(out, "done", f"{number:04d}.json")
