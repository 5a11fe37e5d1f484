"""A small real store with vectors of our choice, over a real corpus tar, for the tests of retrieval."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from index.files import sha256_file
from index.store.embedding_store import EmbeddingStore
from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, Manifest, Part, part_paths, write_manifest

MODEL = {"name": "test", "pretrained": None, "dim": 8, "weights": "w"}


def unit(vectors: npt.ArrayLike) -> npt.NDArray[np.float16]:
    wide = np.asarray(vectors, np.float64)
    rows: npt.NDArray[np.float16] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return rows


def random_unit(count: int, dim: int = 8, seed: int = 0) -> npt.NDArray[np.float16]:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def jpeg(number: int, size: tuple[int, int] = (24, 16)) -> bytes:
    """A small picture that differs for each number."""
    rng = np.random.default_rng(number)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def make_store(
    folder: Path,
    image: npt.NDArray[np.float16],
    text: npt.NDArray[np.float16] | None = None,
    *,
    images: Sequence[bytes] | None = None,
    urls: Sequence[str | None] | None = None,
    parts: int = 2,
    model: dict[str, Any] | None = None,
    local: bool = True,
    **columns: Sequence[Any],
) -> EmbeddingStore:
    """Write FOLDER/store (cut into `parts`) and FOLDER/corpus/00000.tar; `columns` replace metadata columns."""
    count, dim = image.shape
    pictures = list(images) if images is not None else [jpeg(number) for number in range(count)]
    offsets = _write_corpus(folder / "corpus", pictures)
    rows: dict[str, Sequence[Any]] = {
        "key": [f"k{number:04d}" for number in range(count)],
        "shard": ["00000.tar"] * count,
        "offset": offsets,
        "size": [len(picture) for picture in pictures],
        "caption": [f"caption {number}" for number in range(count)],
        "captions": [[f"caption {number}"] for number in range(count)],
        "url": list(urls) if urls is not None else [f"http://example.org/{number}.jpg" for number in range(count)],
        "width": [24] * count,
        "height": [16] * count,
        "sha256": [hashlib.sha256(picture).hexdigest() for picture in pictures],
        "text_tokens_cut": [False] * count,
        "extra": [json.dumps({"truth": number}) for number in range(count)],
        **columns,
    }
    metadata = pa.table(
        {name: pa.array(rows[name], METADATA_SCHEMA.field(name).type) for name in METADATA_SCHEMA.names}
    )
    store = folder / "store"
    written = []
    bounds = np.linspace(0, count, parts + 1).astype(int)
    for number, (first, last) in enumerate(pairwise(bounds)):
        paths = part_paths(number)
        files = {}
        for kind, data in (("image", image), ("text", text)):
            if data is not None:
                target = store / paths[kind]
                target.parent.mkdir(parents=True, exist_ok=True)
                np.save(target, data[first:last])
                files[kind] = _record(store, target)
        target = store / paths["metadata"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(parquet_bytes(metadata.slice(first, last - first)))
        files["metadata"] = _record(store, target)
        rows_here = int(last - first)
        written.append(Part(f"{number:04d}", int(first), rows_here, rows_here, files))
    write_manifest(
        str(store),
        Manifest(
            kind="embedded",
            dim=dim,
            dtype="float16",
            unit_length=True,
            model={**(model or MODEL), "dim": dim},
            corpus_root=str(folder / "corpus") if local else None,
            parts=tuple(written),
        ),
    )
    return EmbeddingStore.open(store)


def forget(store: EmbeddingStore, rows: Sequence[int]) -> None:
    folder = store.path / "forgotten"
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{len(list(folder.iterdir())):04d}.npy", np.array(rows, np.int64))


def _write_corpus(folder: Path, pictures: Sequence[bytes]) -> list[int]:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number, picture in enumerate(pictures):
            member = tarfile.TarInfo(f"k{number:04d}.jpg")
            member.size = len(picture)
            tar.addfile(member, io.BytesIO(picture))
    with tarfile.open(folder / "00000.tar") as tar:
        return [member.offset_data for member in tar.getmembers()]


def _record(store: Path, path: Path) -> FileRecord:
    return FileRecord(path.relative_to(store).as_posix(), path.stat().st_size, sha256_file(path))
