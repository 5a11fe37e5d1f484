"""The data that both services serve: the same vectors, graph, metadata table and encoder.

The encoder is ViT-B-32 with seeded random weights, which take as long as trained ones; the peer reads them from a file.
The peer gets our graph at our efSearch, and the metadata in its own layout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.synthetic_store import make_store
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.index_manifest import index_folder, read_index_manifest
from index.store.embedding_store import EmbeddingStore
from index.store.lookup import build_lookup, plan_lookups
from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, write_manifest
from index.store.store_model import remember_model

ROOT = Path(__file__).resolve().parents[2]
MODEL = ModelSpec("ViT-B-32", random_seed=0)
WORDS = (ROOT / "scenes" / "concepts.txt").read_text(encoding="utf-8").split("\n")
PLACES = ("on a street", "in a kitchen", "at the beach", "in a forest", "on a table", "in the snow", "at night")


@dataclass(frozen=True)
class Served:
    """What `prepare` wrote, and the queries."""

    store: Path  # our store
    peer: Path  # the folder of the peer's indices_paths.json
    queries: npt.NDArray[np.float32]  # [n, 512]
    texts: list[str]  # n short ones
    ef_search: int


def prepare(folder: Path, rows: int) -> Served:
    """Write store, index, weights and the peer's layout under `folder`."""
    store_path = folder / "store"
    store_path.mkdir()
    store, queries = make_store(store_path, rows)
    metadata = _metadata(rows)
    (path,) = store_path.glob("metadata/*.parquet")
    path.write_bytes(parquet_bytes(metadata))
    encoder = load_encoder(MODEL, "cpu")
    part = store.manifest.parts[0]
    record = part.files["metadata"]
    files = {**part.files, "metadata": FileRecord(record.path, path.stat().st_size, None)}
    manifest = replace(store.manifest, model=encoder.fingerprint, parts=(replace(part, files=files),))
    write_manifest(str(store_path), manifest)
    remember_model(store_path, MODEL)
    for lookup in plan_lookups(manifest):
        build_lookup(lookup, str(store_path))
    config = IndexConfig(str(store_path), "image", queries=200)
    for item in plan_index_items(config):
        build_index_item(item, config)
    contract = finish_index(config).recall
    print(contract.sentence())
    peer = folder / "peer"
    _write_peer(EmbeddingStore.open(store_path), metadata, peer, contract.ef_search)
    _write_weights(encoder.model, peer / "weights.safetensors")
    return Served(store_path, peer, queries, _texts(len(queries)), contract.ef_search)


def _metadata(rows: int) -> pa.Table:
    texts = _texts(rows)
    columns: dict[str, Any] = {
        "key": [f"{row:09d}" for row in range(rows)],
        "shard": [f"{row // 10_000:05d}.tar" for row in range(rows)],
        "caption": texts,
        "url": [f"https://images.example/{row % 97:02x}/{row:09d}.jpg" for row in range(rows)],
        "width": [640] * rows,
        "height": [480] * rows,
    }
    return pa.table(
        {field.name: pa.array(columns.get(field.name, [None] * rows), field.type) for field in METADATA_SCHEMA},
        schema=METADATA_SCHEMA,
    )


def _texts(count: int) -> list[str]:
    """Different captions of 5 to 15 words."""
    rng = np.random.default_rng(1)
    names = [word for word in WORDS if word]
    drawn = rng.integers(len(names), size=(count, 2))
    where = rng.integers(len(PLACES), size=count)
    return [
        f"a photo of a {names[first]} and a {names[second]} {PLACES[place]}{f', number {row}' if row % 3 == 0 else ''}"
        for row, ((first, second), place) in enumerate(zip(drawn.tolist(), where.tolist(), strict=True))
    ]


def _write_peer(store: EmbeddingStore, metadata: pa.Table, peer: Path, ef_search: int) -> None:
    """Write image.index and metadata/ as clip-retrieval reads them."""
    import faiss

    manifest = read_index_manifest(index_folder(store, "image"))
    assert manifest is not None
    (record,) = manifest.shards
    assert (record.indexed, record.copies) == (record.rows, 0)  # so that a node's number is its row id
    folder = peer / "index"
    (folder / "metadata").mkdir(parents=True)
    graph = faiss.read_index(str(index_folder(store, "image") / record.file))
    graph.hnsw.efSearch = ef_search
    faiss.write_index(graph, str(folder / "image.index"))
    pq.write_table(metadata.select(["url", "caption", "key"]), folder / "metadata" / "metadata_0000.parquet")


def _write_weights(model: Any, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, str(path))
