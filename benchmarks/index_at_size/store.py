"""Stores of made-up vectors of any size, written part by part, so that memory does not grow with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, Manifest, Part, part_paths, write_manifest

__all__ = ["copies_of", "write_store"]

Floats = npt.NDArray[np.float32]

PART_ROWS = 100_000
_LATENT = 32  # directions that matter; `benchmarks.index_peers.vectors` says why so many
_CLUSTER_ROWS = 250
_WITHIN, _AMBIENT, _TEXT = 0.75, 0.2, 0.7  # standard deviations, relative to that between clusters


def write_store(
    folder: Path,
    rows: int,
    dim: int,
    *,
    texts: bool = True,
    copies: float = 0.0,
    part_rows: int = PART_ROWS,
    seed: int = 0,
) -> None:
    """Write a store of unit vectors float16 that lie as CLIP's do; a store with more rows begins with the same rows.

    Rows lie in clusters of unequal sizes, close to a subspace of few directions. texts: captions, apart from the
    images by a constant vector, and noisier. copies: the share of rows that are near-copies of a row of their part.
    """
    random = np.random.default_rng(seed)
    directions = (random.normal(size=(_LATENT, dim)) / _LATENT**0.5).astype(np.float32)
    gaps = random.normal(size=(2, dim)).astype(np.float32)
    parts = []
    for number, first in enumerate(range(0, rows, part_rows)):
        own = np.random.default_rng([seed, number])
        # The whole part is drawn, so that its first rows do not depend on how many are wanted.
        centres = own.standard_normal((max(8, part_rows // _CLUSTER_ROWS), _LATENT), np.float32)
        sizes = 1 / np.arange(1, len(centres) + 1) ** 0.7
        places = centres[own.choice(len(centres), part_rows, p=sizes / sizes.sum())]
        places += _WITHIN * own.standard_normal(places.shape, np.float32)
        noisy = places + _TEXT * own.standard_normal(places.shape, np.float32)
        count = min(part_rows, rows - first)
        images = _unit(places @ directions + _AMBIENT * own.standard_normal((part_rows, dim), np.float32) + gaps[0])
        if copies:
            copies_of(images, directions, copies, own)
        vectors = {"image": images[:count]}
        if texts:
            captions = noisy @ directions + _AMBIENT * own.standard_normal((part_rows, dim), np.float32)
            vectors["text"] = _unit(captions + gaps[1])[:count]
        parts.append(_write_part(folder, number, first, vectors))
    manifest = Manifest(
        kind="embedded",
        dim=dim,
        dtype="float16",
        unit_length=True,
        model={"name": "synthetic", "dim": dim},
        corpus_root=None,
        parts=tuple(parts),
    )
    write_manifest(str(folder), manifest)


def copies_of(
    images: Floats, directions: Floats, share: float, random: np.random.Generator, least: float = 0.94
) -> None:
    """Replace a share of the unit rows by near-copies of others, at cosines spread evenly from `least` to 1."""
    places = random.permutation(len(images))[: int(share * len(images))]
    others = np.setdiff1d(np.arange(len(images)), places)
    source = images[random.choice(others, len(places))]
    # A step of length tan(angle) at a right angle to the vector gives the cosine cos(angle).
    step = random.standard_normal((len(places), len(directions)), np.float32) @ directions
    step -= (step * source).sum(axis=1, keepdims=True) * source
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    cosine = random.uniform(least, 1, (len(places), 1)).astype(np.float32)
    images[places] = cosine * source + np.sqrt(1 - cosine**2) * step


def _unit(wide: Floats) -> Floats:
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def _write_part(folder: Path, number: int, first: int, vectors: dict[str, Floats]) -> Part:
    paths, files = part_paths(number), {}
    rows = len(vectors["image"])
    for kind, some in vectors.items():
        target = folder / paths[kind]
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, some.astype(np.float16), allow_pickle=False)
        files[kind] = FileRecord(paths[kind], target.stat().st_size, None)
    keys = [str(row) for row in range(first, first + rows)]
    columns = {
        field.name: pa.array(keys if field.name == "key" else [None] * rows, field.type) for field in METADATA_SCHEMA
    }
    metadata = folder / paths["metadata"]
    metadata.parent.mkdir(parents=True, exist_ok=True)
    metadata.write_bytes(parquet_bytes(pa.table(columns, schema=METADATA_SCHEMA)))
    files["metadata"] = FileRecord(paths["metadata"], metadata.stat().st_size, None)
    return Part(f"{number:04d}", first, rows, rows, files)
