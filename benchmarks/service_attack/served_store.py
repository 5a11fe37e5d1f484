"""The store that is attacked: 20,000 synthetic rows with an index, the small CLIP, images of 400 rows, 20,000 pairs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.synthetic_store import make_store
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.store.embedding_store import EmbeddingStore
from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, write_manifest
from index.store.store_model import remember_model
from mining.sets.layouts import SETS_SCHEMA
from mining.sets.sources import store_source
from mining.sets.store_members import members_table, mined_set_ids
from mining.sets.write_sets import write_image_sets

__all__ = ["PAIRS", "ROWS", "make_served_store"]

ROOT = Path(__file__).resolve().parents[2]
ROWS, SHARDS, WITH_IMAGES = 20_000, 4, 400
PHOTOGRAPH = (4_000, 3_000)  # of every eighth image, the others have a short side of 256 as img2dataset's
SEARCHES, PAIRS = "searches.json", "pairs"


def make_served_store(folder: Path) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """The store's path and the authorised client's searches by kind; made anew unless `folder` holds them already.

    Pairs are in `folder`/pairs.
    """
    store_path = folder / "store"
    searches_path = folder / SEARCHES
    if not searches_path.exists():
        store_path.mkdir(parents=True)
        queries = _write(store_path, folder / "corpus")
        _write_pairs(EmbeddingStore.open(store_path), folder / PAIRS)
        searches_path.write_text(json.dumps(_searches(queries)))
    return store_path, json.loads(searches_path.read_text())


def _write(store_path: Path, corpus: Path) -> npt.NDArray[np.float32]:
    store, queries = make_store(store_path, ROWS)
    (path,) = store_path.glob("metadata/*.parquet")
    path.write_bytes(parquet_bytes(_metadata(corpus)))
    spec = ModelSpec(model_dir=str(ROOT / "scenes" / "models" / "clip"))
    part = store.manifest.parts[0]
    files = {**part.files, "metadata": FileRecord(part.files["metadata"].path, path.stat().st_size, None)}
    fingerprint = load_encoder(spec, "cpu").fingerprint
    parts = (replace(part, files=files),)
    write_manifest(
        str(store_path), replace(store.manifest, model=fingerprint, parts=parts, corpus_root=str(corpus.absolute()))
    )
    remember_model(store_path, spec)
    config = IndexConfig(str(store_path), "image", queries=100, shard_rows=ROWS // SHARDS)
    for item in plan_index_items(config):
        build_index_item(item, config)
    finish_index(config)
    return queries


def _metadata(corpus: Path) -> pa.Table:
    """Captions of ten words, URLs for the rows without an image file, other fields of 400 characters."""
    files = _images(corpus)
    places = [files[row % len(files)] if row < WITH_IMAGES else (None, None, None) for row in range(ROWS)]
    captions = [f"a photo of thing {row * 7_919 % ROWS} beside thing {row} on a table" for row in range(ROWS)]
    columns: dict[str, Any] = {
        "key": [f"{row:09d}" for row in range(ROWS)],
        "shard": [name for name, _, _ in places],
        "offset": [None if name is None else 0 for name, _, _ in places],
        "size": [size for _, size, _ in places],
        "sha256": [digest for _, _, digest in places],
        "caption": captions,
        "captions": [[text, text.upper()] for text in captions],
        "url": [None if row < WITH_IMAGES else f"https://images.example/{row:09d}.jpg" for row in range(ROWS)],
        "width": [640] * ROWS,
        "height": [480] * ROWS,
        "extra": [json.dumps({"alt": f"{row} " * 70}) for row in range(ROWS)],
    }
    return pa.table(
        {field.name: pa.array(columns.get(field.name, [None] * ROWS), field.type) for field in METADATA_SCHEMA},
        schema=METADATA_SCHEMA,
    )


def _images(corpus: Path) -> list[tuple[str, int, str]]:
    """Eight JPEG files of noise, the first one a photograph in size: name, bytes, SHA-256."""
    from PIL import Image

    corpus.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for number in range(8):
        width, height = PHOTOGRAPH if number == 0 else (341, 256)
        small = rng.integers(0, 255, (height // 4, width // 4, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(small).resize((width, height)).save(stream, "JPEG", quality=90)
        name = f"{number}.jpg"
        (corpus / name).write_bytes(stream.getvalue())
        files.append((name, stream.tell(), hashlib.sha256(stream.getvalue()).hexdigest()))
    return files


def _write_pairs(store: EmbeddingStore, folder: Path) -> None:
    """Each row beside the next one."""
    source = store_source(store, folder)
    rows = pa.array([[row, (row + 1) % ROWS] for row in range(ROWS)], pa.list_(pa.int64()))
    values = {
        "set_id": mined_set_ids(source.name, rows),
        "strategy": ["random"] * ROWS,
        "level": [0] * ROWS,
        "size": [2] * ROWS,
        "shared_nouns": [["thing", "table"]] * ROWS,
        "reasons": [["drawn by chance"]] * ROWS,
    }
    sets = pa.table(
        [pa.array(values.get(field.name, [None] * ROWS), field.type) for field in SETS_SCHEMA], schema=SETS_SCHEMA
    )
    members = members_table(store, source.name, sets["set_id"], rows)
    write_image_sets(folder, sets, members, [source], {"seed": 0})


def _searches(queries: npt.NDArray[np.float32]) -> dict[str, list[dict[str, Any]]]:
    """What the authorised client asks: by text, by row and by vector, ten results each."""
    vectors = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in queries[:50]]
    return {
        "text": [{"queries": [{"text": f"a red ball and {number} cubes"}]} for number in range(200)],
        "row": [{"queries": [{"row_id": number * 97 % ROWS}]} for number in range(200)],
        "vector": [{"queries": [{"embedding_b64": vector}]} for vector in vectors],
    }
