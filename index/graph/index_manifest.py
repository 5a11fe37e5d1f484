"""The manifest of an index, `index.json`, and the records of its shards.

`index.json` is written last, so its existence means that the index is complete. It holds no times and no hosts, so
equal work gives equal bytes.

    STORE/index/image/index.json
    STORE/index/image/shard_0000.faiss          an HNSW graph
    STORE/index/image/shard_0000.skipped.npy    int64: positions without a node (zero rows, copies), ascending
    STORE/index/image/shard_0000.copies.npy     int64 [m, 2], ascending: a node, and a position with the same vector
    STORE/index/image/shard_0000.json           the shard's marker, written after all of them
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index.errors import StoreInvalid
from index.files import hash_json, write_atomic
from index.graph.hnsw import HnswSpec
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_manifest import Part

__all__ = [
    "CurvePoint",
    "IndexManifest",
    "RecallContract",
    "ShardRecord",
    "index_folder",
    "read_index_manifest",
    "read_marker",
    "source_hash",
    "write_index_manifest",
    "write_marker",
]

_FORMAT_VERSION = 2
_INDEX_NAME = "index.json"


@dataclass(frozen=True)
class ShardRecord:
    """One shard: rows first_row .. first_row + rows - 1 of the store.

    Attributes:
        indexed: rows that can be found.
        copies: those of the indexed rows that share the node of another row.
        size, sha256: of the graph's file.
        source: hash of what the store's manifest says about the rows' parts.
        build: hash of all that decides the shard's bytes; a marker with another hash belongs to another build.
    """

    number: int
    first_row: int
    rows: int
    indexed: int
    copies: int
    size: int
    sha256: str
    source: str
    build: str

    @property
    def file(self) -> str:
        """Name of the graph's file."""
        return f"shard_{self.number:04d}.faiss"

    @property
    def skipped_file(self) -> str:
        """Name of the file with the positions that have no node of their own."""
        return f"shard_{self.number:04d}.skipped.npy"

    @property
    def copies_file(self) -> str:
        """Name of the file with the positions that share a node."""
        return f"shard_{self.number:04d}.copies.npy"


@dataclass(frozen=True)
class CurvePoint:
    """Recall at one efSearch. Searches use max(efSearch, k), so `recall_at_100` is the same for all up to 100."""

    ef_search: int
    recall_at_10: float
    recall_at_100: float


@dataclass(frozen=True)
class RecallContract:
    """How close this index comes to exact search, as measured on it.

    Attributes:
        asked: recall@10 asked for.
        met: whether a measured efSearch reaches it.
        ef_search: the least measured value that reaches it, or the best one when `met` is false; searches use it.
        query_modality: "text" (captions), or "image" for a store without text embeddings, whose figures do not tell
            the recall of text queries.
        queries: number of queries measured, of the `queries_asked`.
        seed: of the sample of queries.
        neighbours: rows that count at 10 and at 100; fewer in a smaller store.
        curve: recall at each measured efSearch.
    """

    asked: float
    met: bool
    ef_search: int
    query_modality: Modality
    queries: int
    queries_asked: int
    seed: int
    neighbours: tuple[int, int]
    curve: tuple[CurvePoint, ...]

    @property
    def recall_at_10(self) -> float:
        """recall@10 at `ef_search`."""
        return next(point.recall_at_10 for point in self.curve if point.ef_search == self.ef_search)

    def sentence(self) -> str:
        """The contract as one line, which says when it is not met or not measured with text."""
        reached = f"recall@10 {self.recall_at_10:.3f} at efSearch {self.ef_search}"
        on = f"{self.queries:,} captions" if self.query_modality == "text" else f"{self.queries:,} images as queries"
        line = f"{reached} on {on} against exact search (asked {self.asked:g})"
        if not self.met:
            line += "; no efSearch measured reaches it: raise M or efConstruction, or search with the method exact"
        if self.query_modality == "image":
            line += "; the store has no text embeddings, so this says nothing about text queries"
        return line


@dataclass(frozen=True)
class IndexManifest:
    """What `index.json` holds. rows: of the store when it was indexed. add_rows: rows that were added at once."""

    modality: Modality
    dim: int
    rows: int
    model: Mapping[str, Any]
    spec: HnswSpec
    shard_rows: int
    add_rows: int
    faiss: str
    shards: tuple[ShardRecord, ...]
    recall: RecallContract

    @property
    def size(self) -> int:
        """Bytes of all graphs."""
        return sum(shard.size for shard in self.shards)


def index_folder(store: EmbeddingStore, modality: Modality) -> Path:
    """STORE/index/MODALITY."""
    return store.path / "index" / modality


def source_hash(store: EmbeddingStore, modality: Modality, first_row: int, rows: int) -> str:
    """Hash of what the manifest says about the vectors of some rows: their parts, counts, sizes and checksums."""
    return hash_json([_source(part, modality) for part in _parts_of(store, first_row, rows)])


def _parts_of(store: EmbeddingStore, first_row: int, rows: int) -> list[Part]:
    """The parts that hold any of the rows first_row .. first_row + rows - 1."""
    last = first_row + rows
    return [part for part in store.parts if part.first_row < last and part.first_row + part.rows > first_row]


def _source(part: Part, modality: Modality) -> list[object]:
    return [part.name, part.first_row, part.rows, part.files[modality].size, part.files[modality].sha256]


def write_marker(folder: Path, record: ShardRecord) -> None:
    """Write a shard's marker, after its files."""
    write_atomic(_marker(folder, record.number), json.dumps(asdict(record), indent=1) + "\n")


def read_marker(folder: Path, number: int) -> ShardRecord | None:
    """The record in a shard's marker; None when the shard is not finished."""
    try:
        return ShardRecord(**json.loads(_marker(folder, number).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None  # an older format: the shard is built again


def _marker(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:04d}.json"


def write_index_manifest(folder: Path, manifest: IndexManifest) -> None:
    """Write index.json, whole or not at all."""
    plain = {"format": "clipmine-index", "version": _FORMAT_VERSION, **asdict(manifest)}
    write_atomic(folder / _INDEX_NAME, json.dumps(plain, indent=1) + "\n")


def read_index_manifest(folder: Path) -> IndexManifest | None:
    """Read FOLDER/index.json; None when there is none.

    Raises:
        StoreInvalid: damaged, or of another version.
    """
    path = folder / _INDEX_NAME
    try:
        plain = json.loads(path.read_bytes())
        if plain.pop("format") != "clipmine-index" or plain.pop("version") != _FORMAT_VERSION:
            raise StoreInvalid(f"{path}: is of another version of this program; run `clipmine index` again")
        spec = HnswSpec(**plain.pop("spec"))
        shards = tuple(ShardRecord(**shard) for shard in plain.pop("shards"))
        recall = plain.pop("recall")
        curve = tuple(CurvePoint(**point) for point in recall.pop("curve"))
        neighbours = tuple(recall.pop("neighbours"))
        contract = RecallContract(curve=curve, neighbours=neighbours, **recall)
        return IndexManifest(spec=spec, shards=shards, recall=contract, **plain)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreInvalid(f"{path}: is damaged ({error}); run `clipmine index` again") from error
