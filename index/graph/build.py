"""The index job: an item builds the HNSW graph of one shard of rows; then recall is measured and `index.json` written.

    config = IndexConfig("STORE", "image")
    for item in plan_index_items(config):
        if not is_index_item_done(item, config):
            build_index_item(item, config)
    finish_index(config)

A run that was killed at any point and started again continues and writes the same bytes. When a store has grown, its
full shards are kept. The items are run by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.files import atomic_file, hash_json, remove_partial, sha256_file
from index.graph.capacity import choose_codec, choose_shard_rows
from index.graph.hnsw import ADD_ROWS, TRAIN_ROWS, HnswSpec, build_graph, write_graph
from index.graph.index_manifest import (
    IndexManifest,
    RecallContract,
    ShardRecord,
    index_folder,
    read_index_manifest,
    read_marker,
    source_hash,
    write_index_manifest,
    write_marker,
)
from index.graph.nodes import NODE_RULES, plan_nodes
from index.graph.recall import measure_recall
from index.graph.search_index import HnswIndex
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = [
    "IndexConfig",
    "IndexItem",
    "IndexSummary",
    "ShardSummary",
    "build_index_item",
    "finish_index",
    "is_index_item_done",
    "plan_index_items",
]


@dataclass(frozen=True)
class IndexConfig:
    """What decides an index.

    Attributes:
        memory: bytes that building one shard may take; vectors are stored in fp16 if the whole index fits, else in SQ8.
        recall: the recall@10 that efSearch is chosen for.
        queries, seed: number and seed of the queries that recall is measured with.
        shard_rows, codec: set these directly instead of by memory.
    """

    store: str
    modality: Modality = "image"
    memory: int = 16_000_000_000
    M: int = 32
    ef_construction: int = 100
    recall: float = 0.95
    queries: int = 1_000
    seed: int = 0
    codec: str | None = None
    shard_rows: int | None = None

    def __post_init__(self) -> None:
        if self.modality not in ("image", "text"):
            raise BadInput(f"no modality {self.modality!r}: choose image or text")
        if not 0 < self.recall <= 1:
            raise BadInput(f"--recall is {self.recall}: it is a share of the exact answers, above 0 and at most 1")
        if self.queries < 1:
            raise BadInput(f"queries is {self.queries}: recall is measured on at least one")
        if self.shard_rows is not None and self.shard_rows < 1:
            raise BadInput(f"shard_rows is {self.shard_rows}: a shard has at least one row")
        HnswSpec(self.codec or "fp16", self.M, self.ef_construction)  # type: ignore[arg-type]  # it checks


@dataclass(frozen=True)
class IndexItem:
    """One shard to build: rows first_row .. first_row + rows - 1. build: hash of all that decides its bytes."""

    number: int
    first_row: int
    rows: int
    codec: str
    build: str


@dataclass(frozen=True)
class ShardSummary:
    """One built shard: its rows, the rows that can be found, and the bytes of its graph."""

    number: int
    rows: int
    indexed: int
    size: int


@dataclass(frozen=True, repr=False)
class IndexSummary:
    """A finished index: rows = indexed + skipped (rows that are zero, forgotten or not finite)."""

    store: str
    modality: Modality
    codec: str
    rows: int
    indexed: int
    skipped: int
    shards: int
    size: int
    recall: RecallContract

    def __repr__(self) -> str:
        return f"IndexSummary({self.modality}, {self.indexed:,} of {self.rows:,} rows, {self.recall.sentence()})"


def plan_index_items(config: IndexConfig) -> list[IndexItem]:
    """Cut the store's rows into shards.

    Raises:
        BadInput: the modality is text and the store has no text embeddings, or the memory is too small.
        StoreInvalid: no complete store, or one without rows.
    """
    store = EmbeddingStore.open(config.store)
    if config.modality == "text" and not store.has_text:
        raise BadInput(f"{store.path}: has no text embeddings to index; use --modality image")
    if not store.rows:
        raise StoreInvalid(f"{store.path}: has no rows to index")
    spec, size = _spec(config, store), _shard_rows(config, store)
    items = []
    for number, first_row in enumerate(range(0, store.rows, size)):
        rows = min(size, store.rows - first_row)
        decides = {
            "modality": config.modality,
            "spec": [spec.codec, spec.M, spec.ef_construction, ADD_ROWS, NODE_RULES],
            "rows": [first_row, rows],
            "source": source_hash(store, config.modality, first_row, rows),
        }
        items.append(IndexItem(number, first_row, rows, spec.codec, hash_json(decides)))
    return items


def is_index_item_done(item: IndexItem, config: IndexConfig) -> bool:
    """Whether this very shard is built: it has its marker, and its files exist with the right size."""
    folder = index_folder(EmbeddingStore.open(config.store), config.modality)
    return _done(item, folder) is not None


def build_index_item(item: IndexItem, config: IndexConfig) -> ShardSummary:
    """Build one shard: graph, skipped positions, copies, then the marker. Does nothing when it is built already."""
    store = EmbeddingStore.open(config.store)
    folder = index_folder(store, config.modality)
    record = _done(item, folder)
    if record is None:
        record = _build(item, config, store, folder)
    return ShardSummary(record.number, record.rows, record.indexed, record.size)


def finish_index(config: IndexConfig, on_progress: Callable[[int, int], None] | None = None) -> IndexSummary:
    """Measure recall over all shards and write index.json; `on_progress(done, total)` is called for each measurement.

    Raises:
        StoreInvalid: a shard has not been built.
    """
    store = EmbeddingStore.open(config.store)
    folder = index_folder(store, config.modality)
    records = []
    for item in plan_index_items(config):
        record = _done(item, folder)
        if record is None:
            raise StoreInvalid(f"{folder}: shard {item.number} is not built; run the same `clipmine index` again")
        records.append(record)
    if not sum(record.indexed for record in records):
        raise StoreInvalid(f"{store.path}: every {config.modality} vector is zero, so there is nothing to index")
    spec = _spec(config, store)
    index = HnswIndex(store, config.modality, spec, records)
    earlier = _read_earlier(folder)
    if earlier is not None and _same(earlier, config, store, spec, records):
        contract = earlier.recall
    else:
        contract = measure_recall(
            index, recall=config.recall, queries=config.queries, seed=config.seed, on_progress=on_progress
        )
        _write(folder, config, store, spec, records, contract)
    _remove_others(folder, records)
    rows, indexed = store.rows, sum(record.indexed for record in records)
    return IndexSummary(
        store=str(store.path),
        modality=config.modality,
        codec=spec.codec,
        rows=rows,
        indexed=indexed,
        skipped=rows - indexed,
        shards=len(records),
        size=sum(record.size for record in records),
        recall=contract,
    )


def _spec(config: IndexConfig, store: EmbeddingStore) -> HnswSpec:
    codec = config.codec or choose_codec(store.rows, store.dim, config.memory, config.M)
    return HnswSpec(codec, config.M, config.ef_construction)  # type: ignore[arg-type]  # it checks


def _shard_rows(config: IndexConfig, store: EmbeddingStore) -> int:
    if config.shard_rows is not None:
        return config.shard_rows
    return choose_shard_rows(store.dim, _spec(config, store).codec, config.memory, config.M)


def _done(item: IndexItem, folder: Path) -> ShardRecord | None:
    record = read_marker(folder, item.number)
    if record is None or record.build != item.build:
        return None
    graph = folder / record.file
    whole = all((folder / name).exists() for name in (record.file, record.skipped_file, record.copies_file))
    return record if whole and graph.stat().st_size == record.size else None


def _build(item: IndexItem, config: IndexConfig, store: EmbeddingStore, folder: Path) -> ShardRecord:
    spec = HnswSpec(item.codec, config.M, config.ef_construction)  # type: ignore[arg-type]  # it checks
    first, last = item.first_row, item.first_row + item.rows
    nodes = plan_nodes(store, config.modality, first, last)
    has_node, shared = nodes.has_node, nodes.shared

    def blocks() -> Iterator[npt.NDArray[np.float32]]:
        for row, vectors in store.blocks(config.modality, ADD_ROWS, first, last):
            yield np.asarray(vectors[has_node[row - first : row - first + len(vectors)]], np.float32)

    chosen = np.unique(np.linspace(first, last - 1, min(item.rows, TRAIN_ROWS)).astype(np.int64))
    sample = store.gather(config.modality, chosen if spec.codec == "sq8" else chosen[:1])
    graph = build_graph(blocks(), sample, spec)
    record = ShardRecord(
        number=item.number,
        first_row=first,
        rows=item.rows,
        indexed=int(nodes.usable.sum()),
        copies=len(shared),
        size=0,
        sha256="",
        source=source_hash(store, config.modality, first, item.rows),
        build=item.build,
    )
    for name, array in ((record.skipped_file, np.flatnonzero(~has_node)), (record.copies_file, shared)):
        with atomic_file(folder / name) as partial, open(partial, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
    with atomic_file(folder / record.file) as partial:
        write_graph(graph, partial)
    path = folder / record.file
    record = replace(record, size=path.stat().st_size, sha256=sha256_file(path))
    write_marker(folder, record)
    return record


def _read_earlier(folder: Path) -> IndexManifest | None:
    try:
        return read_index_manifest(folder)
    except StoreInvalid:
        return None  # it is written again below


def _same(
    earlier: IndexManifest, config: IndexConfig, store: EmbeddingStore, spec: HnswSpec, records: list[ShardRecord]
) -> bool:
    contract = earlier.recall
    return (
        earlier.shards == tuple(records)
        and earlier.spec == spec
        and earlier.rows == store.rows
        and (contract.asked, contract.queries_asked, contract.seed) == (config.recall, config.queries, config.seed)
    )


def _write(
    folder: Path,
    config: IndexConfig,
    store: EmbeddingStore,
    spec: HnswSpec,
    records: list[ShardRecord],
    contract: RecallContract,
) -> None:
    import faiss

    manifest = IndexManifest(
        modality=config.modality,
        dim=store.dim,
        rows=store.rows,
        model=dict(store.fingerprint),
        spec=spec,
        shard_rows=_shard_rows(config, store),
        add_rows=ADD_ROWS,
        faiss=faiss.__version__,
        shards=tuple(records),
        recall=contract,
    )
    write_index_manifest(folder, manifest)


def _remove_others(folder: Path, records: list[ShardRecord]) -> None:
    """Remove the files of an earlier build with more shards, and partial files of killed writers."""
    wanted = {name for record in records for name in (record.file, record.skipped_file, record.copies_file)}
    wanted |= {f"shard_{record.number:04d}.json" for record in records}
    for path in folder.glob("shard_*"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    remove_partial(folder)
