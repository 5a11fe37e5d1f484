"""The files of a store's near-duplicate groups, and `groups.json`, which lists them and is written last.

    STORE/near_duplicates/groups.json            the limit, the rows, the segments, the column
    STORE/near_duplicates/<hash>.edges.npy       int64 [m, 2], what the search of one segment of rows found
    STORE/near_duplicates/<hash>.groups.npy      int64 [rows], the column: the first row of each row's group

A segment is named by a hash of the limit, its rows and the checksums that the vectors had when they were first
written. So compaction changes no name, and a store that grows keeps its segments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from index.errors import StoreInvalid
from index.files import hash_json, list_names, read_bytes, remove, write_atomic
from index.graph.index_manifest import ShardFile, source_hash
from index.json_types import check_fields
from index.store.embedding_store import EmbeddingStore

__all__ = [
    "GroupsManifest",
    "Segment",
    "groups_folder",
    "read_groups_manifest",
    "remove_other_files",
    "segment_name",
    "write_groups_manifest",
]

_VERSION = 1
_NAME = "groups.json"


@dataclass(frozen=True)
class Segment:
    """Rows first_row .. first_row + rows - 1, whose near-duplicates among the rows below `until` were searched."""

    first_row: int
    rows: int
    until: int
    edges: ShardFile


@dataclass(frozen=True)
class GroupsManifest:
    """What `groups.json` holds.

    Attributes:
        threshold: cosine from which two images are near-duplicates.
        rows: the column holds rows 0 .. rows - 1 of the store; one that has grown has more.
        grouped, groups, largest: rows in groups of two or more, these groups, and the rows of the largest one.
    """

    threshold: float
    rows: int
    segments: tuple[Segment, ...]
    column: ShardFile
    grouped: int
    groups: int
    largest: int

    def files(self) -> list[ShardFile]:
        """All files but `groups.json`."""
        return [self.column, *(each.edges for each in self.segments)]

    def is_of(self, store: EmbeddingStore) -> bool:
        """Whether the vectors that were searched are those of the store, not replaced since."""
        sources = {each.until: _source(store, each.until) for each in self.segments}
        names = [
            _name(self.threshold, each.first_row, each.rows, each.until, sources[each.until]) for each in self.segments
        ]
        return self.rows <= store.rows and [f"{name}.edges.npy" for name in names] == [
            each.edges.name for each in self.segments
        ]


def groups_folder(store: EmbeddingStore) -> Path:
    """STORE/near_duplicates."""
    return store.path / "near_duplicates"


def segment_name(store: EmbeddingStore, threshold: float, first_row: int, rows: int, until: int) -> str:
    """16 hex digits that name a segment's files by all that it was made from."""
    return _name(threshold, first_row, rows, until, _source(store, until))


def _source(store: EmbeddingStore, until: int) -> str:
    return source_hash(store, "image", 0, until)


def _name(threshold: float, first_row: int, rows: int, until: int, source: str) -> str:
    return hash_json([_VERSION, threshold, first_row, rows, until, source])[:16]


def write_groups_manifest(store: EmbeddingStore, manifest: GroupsManifest) -> None:
    """Write groups.json, whole or not at all."""
    plain = {"format": "clipmine-near-duplicates", "version": _VERSION, **asdict(manifest)}
    write_atomic(groups_folder(store) / _NAME, json.dumps(plain, indent=1) + "\n")


def read_groups_manifest(store: EmbeddingStore) -> GroupsManifest | None:
    """Read groups.json; None where there is none, or one of another version.

    Raises:
        StoreInvalid: it is damaged.
    """
    path = groups_folder(store) / _NAME
    try:
        plain = json.loads(read_bytes(path))
        if (plain.pop("format"), plain.pop("version")) != ("clipmine-near-duplicates", _VERSION):
            return None
        segments = tuple(Segment(**{**each, "edges": ShardFile(**each["edges"])}) for each in plain.pop("segments"))
        manifest = GroupsManifest(segments=segments, column=ShardFile(**plain.pop("column")), **plain)
        check_fields(manifest)
        if not segments or segments[-1].until != manifest.rows:
            raise ValueError(f"its segments are not those of {manifest.rows:,} rows")
        return manifest
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreInvalid(f"{path}: is damaged ({error}); delete it and run `clipmine duplicates` again") from error


def remove_other_files(store: EmbeddingStore, names: Iterable[str]) -> None:
    """Remove files of segments and columns whose names are not among `names`."""
    folder, kept = groups_folder(store), set(names)
    for name in list_names(folder):
        if name.endswith((".edges.npy", ".groups.npy")) and name not in kept:
            remove(folder / name)
