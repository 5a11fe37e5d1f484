"""Adopting a folder of embeddings that clip-retrieval or LAION wrote: check it, report its content, write its manifest.

    img_emb/img_emb_0.npy   text_emb/text_emb_0.npy   metadata/metadata_0.parquet     (0 or 0000: parts sort as numbers)

Only `manifest.json` is written. The metadata's columns keep their names; the manifest maps our names to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, OutputExists, StoreInvalid
from index.files import local_path, sha256_file
from index.store.embedding_store import open_vectors
from index.store.metadata import METADATA_SCHEMA
from index.store.store_manifest import MANIFEST_NAME, FileRecord, Manifest, Part, read_manifest, write_manifest

__all__ = ["AdoptReport", "adopt_store"]

_FOLDERS = {
    "image": ("img_emb", re.compile(r"img_emb_(\d+)\.npy")),
    "text": ("text_emb", re.compile(r"text_emb_(\d+)\.npy")),
    "metadata": ("metadata", re.compile(r"metadata_(\d+)\.parquet")),
}
# The names of our columns in the tables of clip-retrieval, img2dataset and LAION; the first one that exists is used.
_FOREIGN_NAMES = {
    "key": ("key", "image_path", "id"),
    "caption": ("caption", "TEXT", "text"),
    "url": ("url", "URL"),
    "width": ("width", "WIDTH"),
    "height": ("height", "HEIGHT"),
}
# The vectors whose length is measured, as parts and rows of each: enough to tell unit vectors from others.
_SAMPLED_PARTS, _SAMPLED_ROWS = 64, 128
# float16 keeps a unit vector's length to about 0.0005.
_UNIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class AdoptReport:
    """What `adopt_store` found in the folder."""

    path: str
    parts: int
    rows: int
    dim: int
    dtype: str
    has_text: bool
    unit_length: bool  # whether the sampled rows have length 1; if not, readers normalise
    sampled_rows: int
    without_direction: int  # sampled rows that are zero or not finite
    columns: Mapping[str, str]  # our name of a column -> its name in the metadata
    other_columns: tuple[str, ...]
    missing_numbers: tuple[int, ...]  # gaps in the parts' numbering
    model: Mapping[str, Any]


def adopt_store(path: str | PathLike[str], model: ModelSpec | None = None, checksums: bool = False) -> AdoptReport:
    """Write the manifest of a foreign store, so that `EmbeddingStore.open` reads it.

    An adopted store that has grown at its end may be adopted again; row ids do not change.

    Args:
        path: a local folder.
        model: the model that made the vectors, if known; then queries with another model are refused.
        checksums: also read every file to record its SHA-256.

    Raises:
        StoreInvalid: counts, dimensions or types of a part's files disagree; the message names the part.
        OutputExists: the folder is a store of ours, or was adopted with other parts.
        BadInput: there is nothing to adopt, or `model` has another dimension.
    """
    root = local_path(path).absolute()
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder")
    if (root / "embed.json").exists():
        raise OutputExists(f"{root}: was embedded by `clipmine embed`, which writes its manifest when it has finished")
    found = {kind: _list_parts(root / folder, pattern) for kind, (folder, pattern) in _FOLDERS.items()}
    _check_numbers(root, found)
    numbers = sorted(found["image"])
    dim, dtype = open_vectors(found["image"][numbers[0]]).shape[1], str(open_vectors(found["image"][numbers[0]]).dtype)
    parts: list[Part] = []
    for number in numbers:
        files = {kind: found[kind][number] for kind in found if number in found[kind]}
        rows = _check_part(files, dim, dtype)
        records = {kind: _record(root, file, checksums) for kind, file in files.items()}
        first_row = parts[-1].first_row + parts[-1].rows if parts else 0
        parts.append(Part(str(number), first_row, rows, rows, records))
    if sum(part.rows for part in parts) == 0:
        raise BadInput(f"{root}: its embeddings have no rows")
    names = pq.read_schema(found["metadata"][numbers[0]]).names
    options = {ours: [name for name in theirs if name in names] for ours, theirs in _FOREIGN_NAMES.items()}
    columns = {ours: theirs[0] for ours, theirs in options.items() if theirs}
    norms = _sample_norms([found[kind][number] for kind in ("image", "text") for number in sorted(found[kind])])
    directed = norms[np.isfinite(norms) & (norms > 0)]
    manifest = Manifest(
        kind="adopted",
        dim=dim,
        dtype=dtype,
        unit_length=bool(np.all(np.abs(directed - 1) < _UNIT_TOLERANCE)),
        model=_fingerprint(root, model, dim),
        corpus_root=None,
        parts=tuple(parts),
        columns={ours: theirs for ours, theirs in columns.items() if ours != theirs},
        totals={"read": sum(part.rows for part in parts), "rows": sum(part.rows for part in parts), "rejected": {}},
    )
    _check_earlier(root, manifest)
    write_manifest(fspath(root), manifest)
    return AdoptReport(
        path=str(root),
        parts=len(parts),
        rows=manifest.rows,
        dim=dim,
        dtype=dtype,
        has_text=manifest.has_text,
        unit_length=manifest.unit_length,
        sampled_rows=len(norms),
        without_direction=len(norms) - len(directed),
        columns=columns,
        other_columns=tuple(n for n in names if n not in columns.values() and n not in METADATA_SCHEMA.names),
        missing_numbers=tuple(sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))),
        model=manifest.model,
    )


def _list_parts(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    parts: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match is None:
            if path.suffix == Path(pattern.pattern).suffix and not path.name.startswith("."):
                raise StoreInvalid(f"{path}: is not named like {folder.name}_0{path.suffix}, so its part is unknown")
            continue
        number = int(match[1])
        if number in parts:
            raise StoreInvalid(f"{path}: part {number} exists twice, also as {parts[number].name}")
        parts[number] = path
    return parts


def _check_numbers(root: Path, found: Mapping[str, Mapping[int, Path]]) -> None:
    if not found["image"]:
        raise BadInput(f"{root}: has no img_emb/img_emb_*.npy; give the folder that clip-retrieval wrote")
    for kind, (folder, _) in _FOLDERS.items():
        if kind == "text" and not found[kind]:
            continue
        differing = sorted(set(found["image"]) ^ set(found[kind]))
        if differing:
            lacking = folder if differing[0] in found["image"] else "img_emb"
            raise StoreInvalid(f"{root}: part {differing[0]} has no file in {lacking}/")


def _check_part(files: Mapping[str, Path], dim: int, dtype: str) -> int:
    """Compare the counts, dimensions and types of a part's files; return its rows."""
    counts = {}
    for kind in ("image", "text"):
        if kind in files:
            vectors = open_vectors(files[kind])
            counts[kind] = len(vectors)
            if vectors.shape[1] != dim or str(vectors.dtype) != dtype:
                raise StoreInvalid(
                    f"{files[kind]}: holds {vectors.dtype} of {vectors.shape[1]}, others {dtype} of {dim}"
                )
    try:
        counts["metadata"] = pq.read_metadata(files["metadata"]).num_rows
    except (pa.ArrowException, OSError) as error:
        raise StoreInvalid(f"{files['metadata']}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{files[kind].name} has {count}" for kind, count in counts.items())
        raise StoreInvalid(f"{files['image']}: the files of this part have different numbers of rows: {listed}")
    return counts["image"]


def _record(root: Path, path: Path, checksums: bool) -> FileRecord:
    return FileRecord(str(path.relative_to(root)), path.stat().st_size, sha256_file(path) if checksums else None)


def _sample_norms(paths: list[Path]) -> np.ndarray[Any, np.dtype[np.float32]]:
    lengths = []
    for path in paths[:: -(-len(paths) // _SAMPLED_PARTS)]:
        vectors = open_vectors(path)
        step = max(1, len(vectors) // _SAMPLED_ROWS)
        lengths.append(np.linalg.norm(vectors[::step].astype(np.float32), axis=1))
    return np.concatenate(lengths)


def _fingerprint(root: Path, model: ModelSpec | None, dim: int) -> dict[str, Any]:
    if model is None:
        return {"name": "unknown", "dim": dim}
    import open_clip

    from index.encoder.loading import check_model, load_encoder

    check_model(model)
    if model.model_dir is not None or model.random_seed is not None:
        fingerprint = load_encoder(model, "cpu").fingerprint
    else:  # not loaded, since its weights might have to be downloaded
        fingerprint = {"name": model.name, "pretrained": model.pretrained}
        fingerprint["dim"] = open_clip.get_model_config(model.name)["embed_dim"]
    if fingerprint["dim"] != dim:
        raise BadInput(f"{root}: its vectors have {dim} numbers, those of {model} {fingerprint['dim']}")
    return fingerprint


def _check_earlier(root: Path, manifest: Manifest) -> None:
    """Refuse a folder whose manifest is not of an adopted store, or lists parts that are not the first ones now."""
    if not (root / MANIFEST_NAME).exists():
        return
    earlier = read_manifest(fspath(root))
    if earlier.kind != "adopted":
        raise OutputExists(f"{root}: is a store already")
    before = [(part.name, part.rows) for part in earlier.parts]
    if [(part.name, part.rows) for part in manifest.parts[: len(before)]] != before:
        raise OutputExists(
            f"{root}: was adopted with other parts, and row ids must not change; "
            f"delete {MANIFEST_NAME} (and its indexes) if that is meant"
        )
