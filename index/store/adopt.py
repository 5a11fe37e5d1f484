"""Adopting a folder of embeddings that clip-retrieval or LAION wrote: check it, report its content, write its manifest.

    img_emb/img_emb_0.npy   text_emb/text_emb_0.npy   metadata/metadata_0.parquet     (0 or 0000: parts sort as numbers)

Only `manifest.json` is written. The metadata's columns keep their names; the manifest maps our names to them.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import pyarrow as pa

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, OutputExists, StoreInvalid
from index.files import local_path, sha256_file
from index.lease import only_writer
from index.parquet import open_parquet
from index.store.adopted_columns import ColumnUnion
from index.store.file_sums import sample_file
from index.store.overwritten import noted
from index.store.store_manifest import MANIFEST_NAME, FileRecord, Manifest, Origin, Part, read_manifest, write_manifest
from index.store.vectors import OddVectors, VectorFindings, inspect_vectors, open_vectors, read_header

__all__ = ["AdoptReport", "adopt_store"]

_FOLDERS = {
    "image": ("img_emb", re.compile(r"img_emb_(\d+)\.npy")),
    "text": ("text_emb", re.compile(r"text_emb_(\d+)\.npy")),
    "metadata": ("metadata", re.compile(r"metadata_(\d+)\.parquet")),
}
# One thread checks about 1 GB/s; more of them than this wait for the disk.
_THREADS = 8
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AdoptReport:
    """What `adopt_store` found in the folder."""

    path: str
    parts: int
    rows: int
    dim: int
    dtype: str
    has_text: bool
    unit_length: bool  # whether all rows with a direction have length 1; if not, readers normalise the others
    parts_read: int  # whose vectors were checked now; the others are as an earlier adoption found them
    zero_rows: int  # in the parts that were read, of images and texts
    not_finite_rows: int
    not_unit_rows: int
    odd_vectors: tuple[OddVectors, ...]  # of the parts that were read
    replaced: tuple[str, ...]  # parts whose vectors are others than those of an earlier adoption
    columns: Mapping[str, str]  # our name of a column -> its name in the metadata
    other_columns: tuple[str, ...]
    missing_numbers: tuple[int, ...]  # gaps in the parts' numbering
    model: Mapping[str, Any]


def adopt_store(
    path: str | PathLike[str],
    model: ModelSpec | None = None,
    checksums: bool = False,
    on_progress: Progress | None = None,
) -> AdoptReport:
    """Write the manifest of a foreign store, so that `EmbeddingStore.open` reads it.

    Every vector is read once, at the speed of a disk: readers then know which files need normalising. An adopted store
    that has grown at its end may be adopted again; row ids do not change, and only parts that are new or whose files
    were replaced are read. An index over replaced vectors does not open until it is built again.

    Args:
        path: a local folder.
        model: the model that made the vectors, if known; then queries with another model are refused. By default, that
            of an earlier adoption.
        checksums: also record the SHA-256 of every file, which takes a second reading.
        on_progress: is called with the rows whose vectors are checked, and the rows to check.

    Raises:
        StoreInvalid: counts, dimensions or types of a part's files disagree; the message names the part.
        OutputExists: the folder is a store of ours, or was adopted with other parts, or another job writes there.
        BadInput: there is nothing to adopt, no image has a usable vector, or `model` has another dimension.
    """
    root = local_path(path).absolute()
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder")
    if (root / "embed.json").exists():
        raise OutputExists(f"{root}: was embedded by `clipmine embed`, which writes its manifest when it has finished")
    found = {kind: _list_parts(root / folder, pattern) for kind, (folder, pattern) in _FOLDERS.items()}
    _check_numbers(root, found)
    with only_writer(fspath(root), "run `clipmine adopt` again when it has ended"):
        return _adopt(root, found, model, checksums, on_progress)


def _adopt(
    root: Path,
    found: Mapping[str, Mapping[int, Path]],
    model: ModelSpec | None,
    checksums: bool,
    on_progress: Progress | None,
) -> AdoptReport:
    numbers = sorted(found["image"])
    first = read_header(found["image"][numbers[0]])
    dim, dtype = first.dim, str(first.dtype)
    union = ColumnUnion()
    bare: list[Part] = []
    for number in numbers:
        files = {kind: found[kind][number] for kind in found if number in found[kind]}
        rows = _check_part(files, dim, dtype, union)
        records = {
            kind: FileRecord(str(file.relative_to(root)), file.stat().st_size, None) for kind, file in files.items()
        }
        bare.append(Part(str(number), bare[-1].first_row + bare[-1].rows if bare else 0, rows, rows, records))
    if sum(part.rows for part in bare) == 0:
        raise BadInput(f"{root}: its embeddings have no rows")
    columns, other_columns = union.columns, union.other_columns
    before = _read_earlier(root, bare)
    earlier = before.parts if before is not None else ()
    fingerprint = before.model if model is None and before is not None else _fingerprint(root, model, dim)
    parts, findings = _record_all(root, bare, earlier, checksums, on_progress)
    image = [each for (_, modality), each in findings.items() if modality == "image"]
    if len(image) == len(parts) and not sum(each.usable for each in image):
        bad, rows = sum(each.not_finite for each in image), sum(each.rows for each in image)
        which = (
            f"all {rows:,} hold inf or NaN" if bad == rows else f"of {rows:,}, {bad:,} hold inf or NaN, others only 0"
        )
        raise BadInput(f"{root}: no search can find any of its image vectors: {which}; embed the images again")
    manifest = Manifest(
        kind="adopted",
        dim=dim,
        dtype=dtype,
        unit_length=not any(file.unit_length is False for part in parts for file in part.files.values()),
        model=fingerprint,
        corpus_root=None,
        parts=tuple(parts),
        columns={ours: theirs for ours, theirs in columns.items() if ours != theirs},
        other_columns=other_columns,
        totals={"read": sum(part.rows for part in parts), "rows": sum(part.rows for part in parts), "rejected": {}},
    )
    write_manifest(fspath(root), manifest)
    known = {part.name: part for part in earlier}
    return AdoptReport(
        path=str(root),
        parts=len(parts),
        rows=manifest.rows,
        dim=dim,
        dtype=dtype,
        has_text=manifest.has_text,
        unit_length=manifest.unit_length,
        parts_read=len({number for number, _ in findings}),
        zero_rows=sum(each.zero for each in findings.values()),
        not_finite_rows=sum(each.not_finite for each in findings.values()),
        not_unit_rows=sum(each.not_unit for each in findings.values()),
        odd_vectors=tuple(
            OddVectors.of(parts[number].name, modality, parts[number].first_row, each)
            for (number, modality), each in findings.items()
            if each.not_finite or each.not_unit
        ),
        replaced=tuple(part.name for part in parts if part.name in known and _is_replaced(known[part.name], part)),
        columns=columns,
        other_columns=tuple(other_columns),
        missing_numbers=tuple(sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))),
        model=manifest.model,
    )


def _record_all(
    root: Path, bare: Sequence[Part], earlier: Sequence[Part], checksums: bool, on_progress: Progress | None
) -> tuple[list[Part], dict[tuple[int, str], VectorFindings]]:
    """The parts with their files' records, and what was found in the vectors that had to be read, by part and kind."""
    records = [dict(part.files) for part in bare]
    to_read: list[tuple[int, str]] = []
    to_hash: list[tuple[int, str]] = []
    for number, part in enumerate(bare):
        for kind, record in part.files.items():
            sample = sample_file(root / record.path)
            before = earlier[number].files.get(kind) if number < len(earlier) else None
            if before is not None and before.sample != sample:
                before = noted(root, record.path)  # a compaction that was interrupted may have overwritten it
            kept = before is not None and before.sample == sample
            records[number][kind] = before if before is not None and kept else replace(record, sample=sample)
            if kind != "metadata" and (not kept or checksums):
                to_read.append((number, kind))
            if checksums:
                to_hash.append((number, kind))
    done, total, lock = 0, sum(bare[number].rows for number, _ in to_read), threading.Lock()

    def count(rows: int) -> None:
        nonlocal done
        if on_progress is not None:
            with lock:
                done += rows
                on_progress(done, total)

    def read(key: tuple[int, str]) -> VectorFindings:
        number, kind = key
        return inspect_vectors(open_vectors(root / bare[number].files[kind].path), VectorFindings(), count)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        findings = dict(zip(to_read, pool.map(read, to_read), strict=True))
        sums = zip(
            to_hash, pool.map(lambda key: sha256_file(root / records[key[0]][key[1]].path), to_hash), strict=True
        )
        for (number, kind), sha256 in sums:
            before = records[number][kind]
            # Others than before, though the sample is equal: an origin of its own makes indexes over the file stale.
            origin = Origin(before.size, sha256) if before.sha256 not in (None, sha256) else before.origin
            records[number][kind] = replace(before, sha256=sha256, origin=origin)
    for (number, kind), each in findings.items():
        records[number][kind] = replace(records[number][kind], unit_length=each.unit_length)
    return [replace(part, files=own) for part, own in zip(bare, records, strict=True)], findings


def _is_replaced(before: Part, now: Part) -> bool:
    """Whether an index over the part's vectors is stale; False where the earlier manifest had no checksums."""
    kinds = [kind for kind in ("image", "text") if kind in before.files and kind in now.files]
    known = [kind for kind in kinds if before.files[kind].original.sha256 is not None]
    return any(before.files[kind].original != now.files[kind].original for kind in known)


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


def _check_part(files: Mapping[str, Path], dim: int, dtype: str, union: ColumnUnion) -> int:
    """Compare the counts, dimensions and types of a part's files, add its columns to `union`; return its rows."""
    counts = {}
    for kind in ("image", "text"):
        if kind in files:
            header = read_header(files[kind])
            header.map()  # refuses a file that is cut off
            counts[kind] = header.rows
            if (header.dim, str(header.dtype)) != (dim, dtype):
                raise StoreInvalid(f"{files[kind]}: holds {header.dtype} of {header.dim}, others {dtype} of {dim}")
    try:
        with open_parquet(files["metadata"]) as opened:
            counts["metadata"], schema = opened.metadata.num_rows, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise StoreInvalid(f"{files['metadata']}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{files[kind].name} has {count}" for kind, count in counts.items())
        raise StoreInvalid(f"{files['image']}: the files of this part have different numbers of rows: {listed}")
    union.add(files["metadata"], schema)
    return counts["image"]


def _fingerprint(root: Path, model: ModelSpec | None, dim: int) -> Mapping[str, Any]:
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


def _read_earlier(root: Path, parts: Sequence[Part]) -> Manifest | None:
    """The manifest of an earlier adoption.

    Refuses a folder whose manifest is not of an adopted store, or lists parts that are not the first ones now.
    """
    if not (root / MANIFEST_NAME).exists():
        return None
    earlier = read_manifest(fspath(root))
    if earlier.kind != "adopted":
        raise OutputExists(f"{root}: is a store already")
    before = [(part.name, part.rows) for part in earlier.parts]
    if [(part.name, part.rows) for part in parts[: len(before)]] != before:
        raise OutputExists(
            f"{root}: was adopted with other parts, and row ids must not change; "
            f"delete {MANIFEST_NAME} (and its indexes) if that is meant"
        )
    return earlier
