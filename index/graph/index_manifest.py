"""The manifest of an index, `index.json`, and the records of its shards.

`index.json` names the generation in use: the shards, the rows that they hold, and how they were built. It is replaced
last, in one step, so searches go on with the shards that it names while others are built beside them. A shard's files
are named by a hash of all that decides its bytes. Nothing here holds times or hosts, so equal work gives equal bytes.

    STORE/index/image/index.json
    STORE/index/image/0f6a2b5c8e9d1734.faiss          an HNSW graph
    STORE/index/image/0f6a2b5c8e9d1734.skipped.npy    int64: positions without a node of their own, ascending
    STORE/index/image/0f6a2b5c8e9d1734.copies.npy     int64 [m, 3]: leader, owner, position (index.graph.nodes)
    STORE/index/image/0f6a2b5c8e9d1734.json           the shard's marker, written after all of them
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.files import hash_json, list_names, read_bytes, remove, write_atomic
from index.graph.hnsw import HnswSpec
from index.graph.layout import Layout, ShardFile
from index.graph.recall_contract import RecallContract
from index.json_types import check_fields
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_manifest import FileRecord, Part

__all__ = [
    "IndexManifest",
    "ShardFile",
    "ShardRecord",
    "forgotten_hash",
    "forgotten_rows",
    "index_folder",
    "manifest_path",
    "read_index_manifest",
    "read_markers",
    "remove_other_shards",
    "source_hash",
    "stored_hash",
    "write_index_manifest",
    "write_marker",
]

_FORMAT_VERSION = 3
_INDEX_NAME = "index.json"
_SHARD_ENDS = {"faiss", "skipped.npy", "copies.npy"}
_SHARD_NAMES = re.compile(r"([0-9a-f]{16}|shard_\d{4,})\.(faiss|json|[a-z]+\.npy)|layout-[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class ShardRecord:
    """One shard: rows first_row .. first_row + rows - 1 of the store, or a list of rows.

    Attributes:
        number: position of the shard in the index.
        indexed: rows that can be found.
        copies: those of the indexed rows that share the node of another row.
        forgotten: rows that were forgotten when the shard was built, so that they are not in it.
        source: hash of the checksums that the rows' parts had when they were first written.
        stored: hash of the checksums that the rows' parts had when the shard was built; compaction changes them.
        recipe: hash of the rows, their source and how the graph is built.
        build: hash of `recipe` and the forgotten rows, so of all that decides the shard's bytes; it names the files.
        files: by the ends of their names: "faiss", "skipped.npy", "copies.npy", and for a list of rows "rows.npy" and
            "cells.npy" (index.graph.layout).
        span: 0, or for a list of rows the number of rows, from first_row on, that it was drawn from.
    """

    number: int
    first_row: int
    rows: int
    indexed: int
    copies: int
    forgotten: int
    source: str
    stored: str
    recipe: str
    build: str
    files: Mapping[str, ShardFile]
    span: int = 0

    @property
    def source_rows(self) -> tuple[int, int]:
        """The first row and the number of rows that `source` and `stored` are about."""
        return self.first_row, self.span or self.rows

    @property
    def name(self) -> str:
        """What the names of the shard's files begin with."""
        return self.file.removesuffix(".faiss")

    @property
    def file(self) -> str:
        """Name of the graph's file."""
        return self.files["faiss"].name

    @property
    def size(self) -> int:
        """Bytes of the graph's file."""
        return self.files["faiss"].size

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ShardRecord:
        """A record from its JSON data; TypeError, KeyError or ValueError for another format."""
        made = cls(**{**plain, "files": {end: ShardFile(**file) for end, file in plain["files"].items()}})
        check_fields(made)
        missing = _SHARD_ENDS.difference(made.files)
        if missing:
            raise ValueError(f"shard {made.number} has no {', '.join(sorted(missing))}")
        return made


@dataclass(frozen=True)
class IndexManifest:
    """What `index.json` holds.

    Attributes:
        rows: the index holds rows 0 .. rows - 1 of the store; a store that has grown has more.
        spec, shard_rows, add_rows: how shards are built (add_rows: rows added at once). Fixed by the first build.
        memory: bytes of memory that the index was planned for.
        forgotten: hash of the rows that were forgotten when recall was measured.
        pilot: what `index.graph.pilot` measured before the codec was chosen; None where it was not needed. Its rates
            are the only figures here that another run measures differently.
        layout: which rows each shard holds, where they are grouped by meaning; None where they are consecutive.
    """

    modality: Modality
    dim: int
    rows: int
    model: Mapping[str, Any]
    spec: HnswSpec
    shard_rows: int
    add_rows: int
    memory: int
    faiss: str
    forgotten: str
    shards: tuple[ShardRecord, ...]
    recall: RecallContract
    pilot: Mapping[str, Any] | None = None
    layout: Layout | None = None

    @property
    def size(self) -> int:
        """Bytes of all graphs."""
        return sum(shard.size for shard in self.shards)

    def files(self) -> list[ShardFile]:
        """All files of the index but `index.json` and the shards' markers."""
        layout = [] if self.layout is None else list(self.layout.files())
        return [*layout, *(file for shard in self.shards for file in shard.files.values())]

    def check(self) -> None:
        """Raise ValueError where a field is of another type, or the shards are not those of the layout."""
        check_fields(self)
        if [shard.number for shard in self.shards] != list(range(len(self.shards))):
            raise ValueError("the shards are not numbered one after the other")
        if self.layout is None:
            return
        self.layout.check()
        listed = [(one.rows, one.ids, one.cells) for each in self.layout.groupings for one in each.lists]
        own = [(shard.rows, shard.files.get("rows.npy"), shard.files.get("cells.npy")) for shard in self.shards]
        if own != listed or self.layout.rows != self.rows:
            raise ValueError("the shards do not hold the rows of the layout")


def index_folder(store: EmbeddingStore, modality: Modality) -> Path:
    """STORE/index/MODALITY."""
    return store.path / "index" / modality


def manifest_path(folder: Path) -> Path:
    """FOLDER/index.json."""
    return folder / _INDEX_NAME


def source_hash(store: EmbeddingStore, modality: Modality, first_row: int, rows: int) -> str:
    """Hash of what the manifest says about the vectors of some rows, as they were first written.

    Parts, counts, sizes and checksums; compaction does not change it.
    """
    parts = _parts_of(store, first_row, rows)
    return hash_json([[part.name, part.first_row, part.rows, *_original(part.files[modality])] for part in parts])


def stored_hash(store: EmbeddingStore, modality: Modality, first_row: int, rows: int) -> str:
    """Hash of the sizes and checksums of the vectors of some rows as they are now."""
    files = [part.files[modality] for part in _parts_of(store, first_row, rows)]
    return hash_json([_original(file) if file.origin is None else [file.size, file.sha256] for file in files])


def forgotten_rows(store: EmbeddingStore, first_row: int, rows: int) -> npt.NDArray[np.int64]:
    """The forgotten ones among some rows, ascending."""
    forgotten = store.forgotten
    low, high = np.searchsorted(forgotten, [first_row, first_row + rows])
    return forgotten[low:high]


def forgotten_hash(store: EmbeddingStore, first_row: int, rows: int) -> str:
    """Hash of the forgotten ones among some rows; "" where there are none."""
    positions = forgotten_rows(store, first_row, rows) - first_row
    return sha256(positions.astype("<i8").tobytes()).hexdigest() if len(positions) else ""


def _original(file: FileRecord) -> list[object]:
    return [file.original.size, file.original.sha256]


def _parts_of(store: EmbeddingStore, first_row: int, rows: int) -> Sequence[Part]:
    """The parts that hold any of the rows first_row .. first_row + rows - 1."""
    low = bisect_right(store.parts, first_row, key=lambda part: part.first_row + part.rows)
    high = bisect_left(store.parts, first_row + rows, key=lambda part: part.first_row)
    return store.parts[low:high]


def write_marker(folder: Path, record: ShardRecord) -> None:
    """Write a shard's marker, after its files."""
    write_atomic(folder / f"{record.name}.json", json.dumps(asdict(record), indent=1) + "\n")


def read_markers(folder: Path) -> list[ShardRecord]:
    """The shards that are finished, in use or not, in the order of their names."""
    records = []
    for name in list_names(folder):
        if name == _INDEX_NAME or not name.endswith(".json"):
            continue
        try:
            record = ShardRecord.from_json(json.loads(read_bytes(folder / name)))
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            continue  # damaged, or of another version: the shard is built again
        if f"{record.name}.json" == name:
            records.append(record)
    return records


def remove_other_shards(folder: Path, records: Sequence[ShardRecord], layout: Layout | None = None) -> None:
    """Remove the files of all shards and layouts but these: of earlier generations and of builds that were given up."""
    wanted = {f"{record.name}.json" for record in records} | {
        file.name for each in records for file in each.files.values()
    }
    wanted |= {file.name for file in layout.all_files()} if layout is not None else set()
    for name in list_names(folder):
        if _SHARD_NAMES.fullmatch(name) and name not in wanted:
            remove(folder / name)


def write_index_manifest(folder: Path, manifest: IndexManifest) -> None:
    """Write index.json, whole or not at all."""
    plain = json.loads(json.dumps({"format": "clipmine-index", "version": _FORMAT_VERSION, **asdict(manifest)}))
    write_atomic(manifest_path(folder), json.dumps({**plain, "checksum": hash_json(plain)}, indent=1) + "\n")


def read_index_manifest(folder: Path) -> IndexManifest | None:
    """Read FOLDER/index.json; None when there is none.

    Raises:
        StoreInvalid: damaged, or of a version that is not read.
    """
    path = manifest_path(folder)
    try:
        plain = json.loads(read_bytes(path))
        recorded = plain.pop("checksum", None)  # none in an index of an earlier version of this program
        changed = recorded is not None and recorded != hash_json(plain)
        if plain.pop("format") != "clipmine-index" or plain.pop("version") != _FORMAT_VERSION:
            raise StoreInvalid(f"{path}: is of another version of this program; run `clipmine index` again")
        spec = HnswSpec(**plain.pop("spec"))
        shards = tuple(ShardRecord.from_json(shard) for shard in plain.pop("shards"))
        contract = RecallContract.from_json(plain.pop("recall"))
        layout = Layout.from_json(plain.pop("layout", None))
        manifest = IndexManifest(spec=spec, shards=shards, recall=contract, layout=layout, **plain)
        manifest.check()
        if changed:
            raise ValueError("its checksum is another")
        return manifest
    except FileNotFoundError:
        return None
    except (BadInput, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreInvalid(f"{path}: is damaged ({error}); run `clipmine index` again") from error
