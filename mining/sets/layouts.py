"""The files of sets and members, by version of the format.

    PAIRS/
      manifest.json                  written last: its existence means the folder is complete
      sets/sets_0000.parquet         a row a set, SETS_SCHEMA
      members/members_0000.parquet   a row a member, MEMBERS_SCHEMA, the sets in the same order
      annotations/                   what was said of the sets (`mining.sets.annotations`), at any time after

Part n of `members` holds the members of the sets in part n of `sets`. Row group g of both files belongs to the same
`group_sets` sets, so reading one set decodes one row group of each. READERS has a function for every version that was
ever written; a newer version is an error that says to update.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from index.files import exists, join, read_bytes
from mining.sets.annotations import Annotations
from mining.sets.forgotten_rows import forgotten_rows
from mining.sets.part_files import PartFiles
from mining.sets.recent import Recent
from mining.sets.sources import Moved, Source

__all__ = ["FORMAT", "GROUP_SETS", "MEMBERS_SCHEMA", "SETS_SCHEMA", "VERSION", "Group", "Layout", "read_layout"]

FORMAT = "clipmine-image-sets"
VERSION = 2

SETS_SCHEMA = pa.schema(
    [
        ("set_id", pa.string()),  # unique in the folder, without a meaning
        ("strategy", pa.string()),  # or the collection that the set was imported from
        ("level", pa.int32()),
        ("difficulty", pa.float32()),  # 0 (easy to tell apart) to 1; null where unknown
        ("split", pa.string()),  # train or held-out, where images were held out before mining; a published split
        ("size", pa.int32()),  # members
        ("image_sim", pa.float32()),  # cosine of the images; for more than two members the mean over their pairs
        ("text_sim", pa.float32()),  # the same for the captions; null where the store has no text embeddings
        ("shared_nouns", pa.list_(pa.string())),
        ("axis", pa.string()),  # null where it does not apply; the same holds for concept and entity
        ("concept", pa.string()),
        ("entity", pa.string()),
        ("reasons", pa.list_(pa.string())),  # sentences that a person can check
        ("extra", pa.string()),  # a JSON object
    ]
)
MEMBERS_SCHEMA = pa.schema(
    [
        ("set_id", pa.string()),
        ("position", pa.int32()),  # from 0
        ("source", pa.string()),  # a name in the manifest's `sources`
        ("row_id", pa.int64()),  # null for a foreign image
        ("key", pa.string()),
        ("shard", pa.string()),  # the file of the source that holds the image: a tar, or the image itself
        ("offset", pa.int64()),  # where the image file begins in the shard, and its length in bytes
        ("bytes", pa.int64()),
        ("path", pa.string()),  # of a foreign image's own file within the source's folder
        ("url", pa.string()),
        ("caption", pa.string()),  # the one that the set's reasons speak of
        ("captions", pa.list_(pa.string())),  # all that are known
        ("sha256", pa.string()),  # of the image file, hex; null where it is not known
        ("extra", pa.string()),  # what else the source's metadata had, a JSON object
    ]
)
# Sets a row group. Decoding one takes 1 to 3 ms for pairs with captions, less than decoding the two photographs of a
# pair. The manifest records the number, so folders written with another one stay readable.
GROUP_SETS = 250
# Groups kept decoded, 0.1 MB each for pairs with captions. The shuffling window of `torch_stream` is smaller.
_KEPT_GROUPS = 128
_REMEDY = "mine or import again into a new folder"


@dataclass(frozen=True)
class Group:
    """Sets that are decoded together. starts: int64 [sets + 1], the first row of each set in `members`, and its end."""

    sets: pa.Table
    members: pa.Table
    starts: npt.NDArray[np.int64]


class Layout:
    """The sets of a complete folder by number, 0 .. sets - 1, in the order in which they were written.

    Safe for threads. Pickled without its caches, but with the list of annotations, so that all workers see the same.
    """

    def __init__(
        self,
        path: str,
        manifest: Mapping[str, Any],
        parts: Sequence[tuple[str, str, int]],
        group_sets: int,
        sources: Mapping[str, Source],
    ) -> None:
        """parts: (file of sets, file of members, number of sets), relative to `path`. group_sets: sets in every row
        group but the last of a part. sources: by name."""
        self.path, self.manifest, self.parts, self.group_sets = path, manifest, tuple(parts), group_sets
        self.sources = dict(sources)
        self.moved: Moved = None  # where stores are now that were moved, to ask what they forgot
        self.first_sets = np.cumsum([0, *(count for _, _, count in self.parts)])
        self.first_groups = np.cumsum([0, *(-(-count // group_sets) for _, _, count in self.parts)])
        self._files = PartFiles(path, _REMEDY)
        self._kept = Recent[int, Group](_KEPT_GROUPS)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("set_ids", "sizes")}

    @property
    def sets(self) -> int:
        return int(self.first_sets[-1])

    def groups_of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """int64 [n]: the group of each set number."""
        parts = np.searchsorted(self.first_sets, numbers, side="right") - 1
        groups: npt.NDArray[np.int64] = self.first_groups[parts] + (numbers - self.first_sets[parts]) // self.group_sets
        return groups

    def first_of(self, group: int) -> int:
        """The number of a group's first set."""
        part = int(np.searchsorted(self.first_groups, group, side="right")) - 1
        return int(self.first_sets[part] + (group - self.first_groups[part]) * self.group_sets)

    def group(self, group: int) -> Group:
        """A group's tables, from the cache or from disk. Raises BadInput where a file is damaged."""
        return self._kept.get(group, lambda: self._read_group(group))

    @cached_property
    def set_ids(self) -> pa.Array:
        """string [sets]: the ids of all sets, in order; kept once read, about 30 bytes a set."""
        return self.all_sets(["set_id"])["set_id"].combine_chunks()

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """int64 [sets]: the members of each set; kept once read."""
        sizes: npt.NDArray[np.int64] = self.all_sets(["size"])["size"].to_numpy().astype(np.int64)
        return sizes

    @cached_property
    def hidden(self) -> npt.NDArray[np.int64]:
        """int64 [n] ascending: the sets with a row that its store has forgotten, as it is at the first use."""
        forgotten = forgotten_rows(self.sources, self.path, self.moved)
        gone = np.zeros(self.sets, np.bool_)
        for part, (first, last) in enumerate(zip(self.first_sets[:-1], self.first_sets[1:], strict=True)):
            if not forgotten:
                break
            members = self.member_columns(part, ["source", "row_id"])
            rows = members["row_id"].fill_null(-1).to_numpy()
            own = np.zeros(len(rows), np.bool_)
            for name, known in forgotten.items():
                of_source = np.asarray(pc.equal(members["source"], pa.scalar(name, pa.string()))).astype(np.bool_)
                own |= of_source & np.isin(rows, known)
            gone[first:last][np.repeat(np.arange(last - first), self.sizes[first:last])[own]] = True
        return np.flatnonzero(gone).astype(np.int64)

    @cached_property
    def annotations(self) -> Annotations:
        """The folder's annotations as they are at the first use."""
        return Annotations.open(self.path)

    def all_sets(self, names: Sequence[str]) -> pa.Table:
        """Some of SETS_SCHEMA's columns of all sets."""
        return pa.concat_tables([self.set_columns(part, names) for part in range(len(self.parts))])

    def values(self, column: str) -> tuple[str, ...]:
        """What the sets have in a column of texts, sorted, without null."""
        found: set[str | None] = set()
        for part in range(len(self.parts)):
            found.update(self.set_columns(part, [column])[column].unique().to_pylist())
        return tuple(sorted(value for value in found if value is not None))

    def set_columns(self, part: int, names: Sequence[str], group: int | None = None) -> pa.Table:
        """Some of SETS_SCHEMA's columns of a part, or of one of its row groups."""
        return self._read(self.parts[part][0], list(names), group, SETS_SCHEMA)

    def member_columns(self, part: int, names: Sequence[str], group: int | None = None) -> pa.Table:
        """Some of MEMBERS_SCHEMA's columns of a part, or of one of its row groups."""
        return self._read(self.parts[part][1], list(names), group, MEMBERS_SCHEMA)

    def _read_group(self, group: int) -> Group:
        part = int(np.searchsorted(self.first_groups, group, side="right")) - 1
        place = int(group - self.first_groups[part])
        sets = self.set_columns(part, SETS_SCHEMA.names, place)
        members = self.member_columns(part, MEMBERS_SCHEMA.names, place)
        starts = np.concatenate([[0], np.cumsum(sets["size"].to_numpy(), dtype=np.int64)])
        if (count := min(self.group_sets, self.parts[part][2] - place * self.group_sets)) != sets.num_rows:
            what = f"has {sets.num_rows} sets in row group {place} instead of {count}, by `group_sets` of the manifest"
            raise self._files.damaged(self.parts[part][0], what)
        if starts[-1] != members.num_rows:
            raise self._files.damaged(self.parts[part][1], f"has {members.num_rows} members instead of {starts[-1]}")
        if unknown := sorted(set(members["source"].unique().to_pylist()) - set(self.sources), key=str):
            what = f"members name the source {unknown[0]!r:.100}, which the manifest does not describe"
            raise self._files.damaged(self.parts[part][1], what)
        return Group(sets, members, starts)

    def _read(self, name: str, columns: list[str], group: int | None, schema: pa.Schema) -> pa.Table:
        stored = _columns_in_version_1(columns, schema) if self.manifest["version"] == 1 else columns
        table = self._files.read(name, stored, group)
        if stored is not columns:
            table = _from_version_1(table, columns, schema, next(iter(self.sources)))
        return table.select(columns).cast(pa.schema([schema.field(column) for column in columns])).combine_chunks()


def _version_1(path: str, manifest: Mapping[str, Any]) -> Layout:
    """Version 1: one store, `manifest["store"]`; members have `entity` and `scene` instead of source and extra."""
    store = manifest.get("store") or {}
    name = f"store-{str(store.get('identity', 'unknown'))[:12]}"
    return _layout(path, manifest, {name: Source.from_json(name, {"kind": "store", **store})})


def _version_2(path: str, manifest: Mapping[str, Any]) -> Layout:
    """Version 2: `sources` by name, `parts` is [{file, members_file, rows, members}], and there is `group_sets`."""
    return _layout(path, manifest, {name: Source.from_json(name, each) for name, each in manifest["sources"].items()})


def _layout(path: str, manifest: Mapping[str, Any], sources: Mapping[str, Source]) -> Layout:
    name, listed, group_sets = join(path, "manifest.json"), manifest["parts"], manifest["group_sets"]
    if type(group_sets) is not int or group_sets < 1:  # `type`, since True == 1
        raise BadInput(f"{name}: lacks a number of `group_sets` from 1, it has {group_sets!r:.50}; {_REMEDY}")
    if not listed:
        raise BadInput(f"{name}: lacks `parts`, the list is empty; {_REMEDY}")
    if not sources and any(part["members"] for part in listed):
        raise BadInput(f"{name}: lacks `sources`, though the sets have members; {_REMEDY}")
    for column, field in (("rows", "sets"), ("members", "members")):
        total = sum(part[column] for part in listed)
        if manifest.get(field, total) != total:
            raise BadInput(f"{name}: says {manifest[field]!r:.50} {field}, its parts have {total}; {_REMEDY}")
    parts, files = [], PartFiles(path, _REMEDY)
    for part in listed:
        for file, rows in ((part["file"], part["rows"]), (part["members_file"], part["members"])):
            if (found := files.rows(file)) != rows:
                raise BadInput(f"{join(path, file)}: has {found} rows, its manifest says {rows}; {_REMEDY}")
        parts.append((part["file"], part["members_file"], int(part["rows"])))
    return Layout(path, manifest, parts, group_sets, sources)


# The columns that version 1 lacks.
_NEW_COLUMNS = {"difficulty", "split", "source", "path", "url", "captions", "extra"}


def _columns_in_version_1(columns: Sequence[str], schema: pa.Schema) -> list[str]:
    """The columns that a file of version 1 has to be read for `columns`; at least one, for the number of rows."""
    needed = [name for name in columns if name not in _NEW_COLUMNS]
    if "extra" in columns and schema is MEMBERS_SCHEMA:
        needed += ["entity", "scene"]
    return needed or ["set_id"]


def _from_version_1(table: pa.Table, columns: Sequence[str], schema: pa.Schema, source: str) -> pa.Table:
    """`columns` of a table that was read from version 1: a member's scene and entity become part of its extra."""
    count = table.num_rows
    data = {name: table[name] for name in table.column_names}
    for name in set(columns) & _NEW_COLUMNS:
        data[name] = pa.nulls(count, schema.field(name).type)
    if "source" in columns:
        data["source"] = pa.array([source]).take(pa.array(np.zeros(count, np.int64)))
    if "extra" in columns and schema is MEMBERS_SCHEMA:
        known = zip(table["entity"].to_pylist(), table["scene"].to_pylist(), strict=True)
        data["extra"] = pa.array([_extra_of(entity, scene) for entity, scene in known], pa.string())
    return pa.table({name: data[name] for name in columns})


def _extra_of(entity: str | None, scene: str | None) -> str | None:
    extra = {"entity": entity, "truth": json.loads(scene) if scene else None}
    known = {name: value for name, value in extra.items() if value is not None}
    return json.dumps(known) if known else None


# One reader for every version that was ever written; none is removed. A new version adds one and raises VERSION. The
# older readers fill in what their version lacks, so that no other module has to tell versions apart.
READERS: dict[int, Callable[[str, Mapping[str, Any]], Layout]] = {1: _version_1, 2: _version_2}


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """Open a folder of image sets. Raises BadInput when it has none or is unfinished, damaged or of a newer version."""
    root = os.fspath(path)
    name = join(root, "manifest.json")
    if not exists(name):
        unfinished = exists(join(root, "sets")) or exists(join(root, "work"))
        what = "unfinished image sets: run the same command again" if unfinished else "no image sets"
        raise BadInput(f"{root}: {what} (it has no manifest.json)")
    try:
        manifest = json.loads(read_bytes(name))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name}: is damaged ({error}); {_REMEDY}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{name}: is not the manifest of image sets")
    version = manifest.get("version")
    if type(version) is not int or version not in READERS:  # `type`, since True == 1
        newer = isinstance(version, int) and version > VERSION
        remedy = "update clipmine to read it" if newer else _REMEDY
        raise BadInput(f"{name}: has version {version!r} of the format, this clipmine reads up to {VERSION}; {remedy}")
    try:
        return READERS[version](root, manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"{name}: lacks {error}; {_REMEDY}") from error
