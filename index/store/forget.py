"""Removing rows from a store: `forget_rows` hides them from every reader at once, `compact_store` overwrites them.

Row ids do not change: a forgotten row keeps its id, its vector reads as zeros and its metadata as nulls. The images are
in the corpus, which is not changed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from os import fspath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import remove_partial, write_atomic
from index.store.embed_item import read_marker, write_marker
from index.store.embedding_store import EmbeddingStore, open_vectors
from index.store.lookup import build_lookup, remove_lookups
from index.store.metadata import parquet_bytes
from index.store.store_manifest import FileRecord, Part, read_manifest, write_manifest

__all__ = ["CompactReport", "ForgetReport", "compact_store", "forget_rows"]


@dataclass(frozen=True)
class ForgetReport:
    """Counts of `forget_rows`."""

    forgotten: int  # rows forgotten by this call
    already: int  # rows that had been forgotten before
    unknown_keys: tuple[str, ...]  # no row has them, or compaction has overwritten the rows that had


@dataclass(frozen=True)
class CompactReport:
    """Counts of what `compact_store` overwrote."""

    rows: int
    parts: int


def forget_rows(
    store: EmbeddingStore, keys: Iterable[str] | None = None, row_ids: Sequence[int] | None = None
) -> ForgetReport:
    """Forget the rows with these keys (all rows of a key that several have) and these row ids.

    Stores that are open already hide them from their next call on.

    Raises:
        BadInput: nothing given, a row id that the store does not have, or keys none of which the store has.
    """
    wanted = list(dict.fromkeys(keys or ()))
    ids = [np.asarray(row_ids if row_ids is not None else (), dtype=np.int64)]
    if not wanted and not len(ids[0]):
        raise BadInput("nothing to forget: give keys or row ids")
    if len(ids[0]) and (ids[0].min() < 0 or ids[0].max() >= store.rows):
        raise BadInput(f"{store.path}: its rows are 0 to {store.rows - 1}, not {ids[0].min()} to {ids[0].max()}")
    unknown = wanted
    if wanted:
        found, rows = _find_keys(store, wanted)
        unknown = [key for key in wanted if key not in found]
        if not found:
            raise BadInput(f"{store.path}: has no row with any of the {len(wanted)} keys (the first is {wanted[0]!r})")
        ids.append(rows)
    asked = np.unique(np.concatenate(ids))
    new = asked[~store.is_forgotten(asked)]
    if len(new):
        stream = io.BytesIO()
        np.save(stream, new, allow_pickle=False)
        data = stream.getvalue()
        # Named by its content: two writers at once never write the same file, and forgetting twice adds no second file.
        write_atomic(fspath(store.path / "forgotten" / f"forgotten_{sha256(data).hexdigest()[:16]}.npy"), data)
    return ForgetReport(len(new), len(asked) - len(new), tuple(unknown))


def compact_store(path: str) -> CompactReport:
    """Overwrite forgotten rows with zeros and nulls in the store's files, in place, part by part.

    When it is interrupted, every part is complete, and the next call finishes the rest. The disk may keep the old bytes
    until it reuses their place.
    """
    store = EmbeddingStore.open(path)
    forgotten = store.forgotten
    parts = list(store.parts)
    rows = touched = 0
    for folder in ("img_emb", "text_emb", "metadata", "done"):
        remove_partial(store.path / folder)
    inside = [
        forgotten[(forgotten >= part.first_row) & (forgotten < part.first_row + part.rows)] - part.first_row
        for part in parts
    ]
    # Removed first, since they hold copies of what is overwritten.
    lookups = remove_lookups(store.path, store.manifest, [number for number, own in enumerate(inside) if len(own)])
    for number, own in enumerate(inside):
        if not len(own):
            continue
        parts[number] = _overwrite(store, number, own)
        rows += len(own)
        touched += 1
    if touched:
        write_manifest(fspath(store.path), replace(read_manifest(fspath(store.path)), parts=tuple(parts)))
    for item in lookups:
        build_lookup(item, fspath(store.path))
    return CompactReport(rows, touched)


def _find_keys(store: EmbeddingStore, keys: Sequence[str]) -> tuple[set[str], npt.NDArray[np.int64]]:
    wanted = pa.array(keys, pa.string())
    found: set[str] = set()
    rows = [np.empty(0, np.int64)]
    for first_row, table in store.iter_metadata(["key"], include_forgotten=True):
        mask = pc.is_in(table["key"], value_set=wanted)
        found.update(table.filter(mask)["key"].to_pylist())
        rows.append(np.flatnonzero(mask.to_numpy()) + first_row)
    return found, np.concatenate(rows)


def _overwrite(store: EmbeddingStore, number: int, positions: npt.NDArray[np.int64]) -> Part:
    """Rewrite one part's files and, in a store that we embedded, its marker; return the part with its new checksums."""
    part = store.parts[number]
    records = dict(part.files)
    for kind in ("image", "text", "metadata"):
        if kind not in records:
            continue
        file = store.part_file(number, kind)
        if kind == "metadata":
            table = pq.read_table(file)
            gone = np.zeros(table.num_rows, dtype=np.bool_)
            gone[positions] = True
            nullable = pa.schema([field.with_nullable(True) for field in table.schema], table.schema.metadata)
            data = parquet_bytes(table.cast(nullable).take(pa.array(np.arange(table.num_rows), mask=gone)))
        else:
            vectors = np.array(open_vectors(file))
            vectors[positions] = 0
            stream = io.BytesIO()
            np.save(stream, vectors, allow_pickle=False)
            data = stream.getvalue()
        write_atomic(fspath(file), data)
        records[kind] = FileRecord(records[kind].path, len(data), sha256(data).hexdigest())
    if store.manifest.kind == "embedded":
        marker = read_marker(fspath(store.path), int(part.name))
        if marker is not None:
            write_marker(fspath(store.path), int(part.name), replace(marker, files=records))
    return replace(part, files=records)
