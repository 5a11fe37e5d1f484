"""Checking a store's files against its manifest: every byte is read once, or the samples where no more was recorded."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from index.errors import ClipmineError
from index.files import as_url, exists, read_bytes, sha256_file
from index.store.embedding_store import EmbeddingStore
from index.store.file_sums import sample_file
from index.store.lookup import is_lookup_done, lookup_file, plan_lookups
from index.store.metadata import MetadataFiles
from index.store.part_files import forgotten_names
from index.store.store_manifest import FileRecord
from index.store.vectors import OddVectors, VectorFindings, inspect_vectors, open_vectors

__all__ = ["FilesChecked", "Problem", "check_files", "check_lists", "check_lookups", "files_to_check"]

_THREADS = 8  # as many as reading a disk needs; hashing runs at 0.5 to 2 GB/s a thread


@dataclass(frozen=True)
class Problem:
    """A file that is not what it should be. part: the part that it belongs to, if any. remedy: what to do."""

    file: str
    part: str | None
    what: str
    remedy: str


@dataclass(frozen=True)
class FilesChecked:
    """What was found in files that were compared with what was recorded of them.

    Attributes:
        files, size: files that were read, and their bytes.
        sampled: files of an adopted store of which a sample only is known; `clipmine adopt --checksums` records more.
        unknown: files of which the size only is known.
        odd_vectors: files with rows that hold inf or NaN, or are not unit vectors. Readers handle them: no problem.
        problems: what differs, and what to do.
    """

    files: int
    size: int
    sampled: int
    unknown: int
    odd_vectors: tuple[OddVectors, ...]
    problems: tuple[Problem, ...]


def files_to_check(store: EmbeddingStore) -> int:
    """How many files `check_files` reads."""
    return sum(len(part.files) for part in store.parts)


def check_files(store: EmbeddingStore, on_file: Callable[[], None] | None = None) -> FilesChecked:
    """Read every file of the store's parts; compare sizes, checksums and rows, and look for inf and NaN in vectors.

    Args:
        store: it need not have been opened with its own checks, as this goes on after a damaged part.
        on_file: is called after each file.
    """
    metadata = MetadataFiles(store.path, store.manifest)
    keys = [(number, kind) for number, part in enumerate(store.parts) for kind in part.files]

    def check(key: tuple[int, str]) -> tuple[VectorFindings | None, Problem | None]:
        try:
            return _check_file(store, metadata, *key)
        finally:
            if on_file is not None:
                on_file()

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        found = list(pool.map(check, keys))
    records = [store.parts[number].files[kind] for number, kind in keys]
    odd = [
        OddVectors.of(store.parts[number].name, kind, store.parts[number].first_row, each)
        for (number, kind), (each, _) in zip(keys, found, strict=True)
        if each is not None and (each.not_finite or each.not_unit)
    ]
    return FilesChecked(
        files=len(keys),
        size=sum(record.size for record in records),
        sampled=sum(record.sha256 is None and record.sample is not None for record in records),
        unknown=sum(record.sha256 is None and record.sample is None for record in records),
        odd_vectors=tuple(odd),
        problems=tuple(problem for _, problem in found if problem is not None),
    )


def check_lists(store: EmbeddingStore) -> list[Problem]:
    """The lists of forgotten rows that cannot be read, or are not what their names say."""
    return [
        problem
        for name in forgotten_names(store.path)
        for problem in _check_list(store, store.path / "forgotten" / name)
    ]


def check_lookups(store: EmbeddingStore) -> list[Problem]:
    """The look-up files that are damaged or out of date."""
    files = {lookup_file(store.path, item): item for item in plan_lookups(store.manifest)}
    return [
        Problem(
            as_url(file),
            None,
            "is damaged or out of date; metadata is read from Parquet instead, more slowly",
            f"clipmine index {as_url(store.path)}",
        )
        for file, item in files.items()
        if exists(file) and not is_lookup_done(item, store.path, store.manifest)
    ]


def _check_file(
    store: EmbeddingStore, metadata: MetadataFiles, number: int, kind: str
) -> tuple[VectorFindings | None, Problem | None]:
    part, record = store.parts[number], store.parts[number].files[kind]
    try:
        file = store.part_file(number, kind)
        what = _compare(file, record)
        findings = None
        if what is None and kind in ("image", "text"):
            findings = inspect_vectors(open_vectors(file), VectorFindings())
            if findings.rows != part.rows:
                what = f"has {findings.rows:,} rows, its part {part.rows:,}"
            elif record.unit_length and not findings.unit_length:
                what = f"has {findings.not_unit:,} rows of another length than 1, and had none when it was adopted"
        elif what is None and kind == "metadata":
            metadata.check(number)
    except ClipmineError as error:
        return None, Problem(record.path, part.name, _without_path(error, store, record), _remedy(store))
    except OSError as error:
        return None, Problem(record.path, part.name, f"cannot be read ({error.strerror})", _remedy(store))
    return findings, None if what is None else Problem(record.path, part.name, what, _remedy(store))


def _compare(file: Path, record: FileRecord) -> str | None:
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != record.size:
        return f"has {size:,} bytes instead of {record.size:,}"
    if record.sha256 is not None:
        return None if sha256_file(file) == record.sha256 else "has changed: its SHA-256 is another"
    if record.sample is not None and sample_file(file) != record.sample:
        return "was replaced since the store was adopted"
    return None


def _remedy(store: EmbeddingStore) -> str:
    if len(store.forgotten) and exists(store.path / "manifest.json"):
        compact = f"if `clipmine compact {as_url(store.path)}` was interrupted, run it again; else "
    else:
        compact = ""
    if store.manifest.kind == "adopted":
        return f"{compact}restore the file, or adopt and index the store again if it is meant to be another"
    return f"{compact}restore the file, or delete it and run the same `clipmine embed` again"


def _without_path(error: ClipmineError, store: EmbeddingStore, record: FileRecord) -> str:
    return str(error).removeprefix(f"{as_url(store.path)}/{record.path}: ")


def _check_list(store: EmbeddingStore, file: Path) -> Iterator[Problem]:
    remedy = "restore it, or forget its rows again"
    try:
        data = read_bytes(file)
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError):
        yield Problem(as_url(file), None, "this list of forgotten rows cannot be read", remedy)
        return
    named = file.stem.removeprefix("forgotten_")
    if len(named) == 16 and sha256(data).hexdigest()[:16] != named:
        yield Problem(
            as_url(file), None, "this list of forgotten rows has changed: its name is the hash of others", remedy
        )
    elif rows.size and not (rows.min() >= 0 and rows.max() < store.rows):
        yield Problem(as_url(file), None, f"lists rows that are not among 0 to {store.rows - 1}", remedy)
