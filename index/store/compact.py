"""Compaction: the rows that a store has forgotten are overwritten in its files.

Row ids do not change: a compacted row keeps its id, its vector is zero and its metadata null.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from hashlib import sha256
from os import fspath

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.files import remove_partial, write_atomic
from index.lease import only_writer
from index.parquet import read_parquet
from index.store.done_items import remove_copy
from index.store.embedding_store import EmbeddingStore, open_vectors
from index.store.file_sums import sample_bytes
from index.store.lookup import build_lookup, remove_lookups
from index.store.markers import read_marker, write_marker
from index.store.metadata import parquet_bytes
from index.store.overwritten import drop_notes, note_overwriting
from index.store.part_files import part_path
from index.store.store_manifest import FileRecord, Part, read_manifest, write_manifest

__all__ = ["CompactReport", "compact_store"]


@dataclass(frozen=True)
class CompactReport:
    """Counts of what `compact_store` overwrote."""

    rows: int
    parts: int


def compact_store(path: str) -> CompactReport:
    """Overwrite forgotten rows with zeros and nulls in the store's files, in place, part by part.

    When it is interrupted, every part is complete, and the next call finishes the rest. The disk may keep the old bytes
    until it reuses their place. Indexes stay valid; `clipmine index` then builds those shards again that hold erased
    vectors.

    Raises:
        OutputExists: another job is writing in the store.
        StoreInvalid: no complete store there.
    """
    read_manifest(path)  # before a lease is written where there is no store
    with only_writer(path, "run `clipmine compact` again when it has ended") as lease:
        store = EmbeddingStore.open(path)
        for folder in ("img_emb", "text_emb", "metadata", "done"):
            remove_partial(store.path / folder)
        forgotten = store.forgotten
        erased = {number: rows for number, part in enumerate(store.parts) if len(rows := _positions(part, forgotten))}
        # The look-up files are removed first, since they hold copies of what is overwritten.
        lookups = remove_lookups(store.path, store.manifest, list(erased))
        if erased:
            remove_copy(path)
        changed = {store.parts[number].name: _overwrite(store, number, rows) for number, rows in erased.items()}
        lease.check()
        if changed:
            # Read again, so that parts which were added in spite of the lease stay in it.
            manifest = read_manifest(path)
            parts = tuple(replace(part, files=changed.get(part.name, part.files)) for part in manifest.parts)
            write_manifest(path, replace(manifest, parts=parts))
            drop_notes(store.path)
        for item in lookups:
            build_lookup(item, path)
    return CompactReport(sum(map(len, erased.values())), len(erased))


def _positions(part: Part, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions in the part of those of the sorted row ids that it holds."""
    low, high = np.searchsorted(rows, [part.first_row, part.first_row + part.rows])
    return rows[low:high] - part.first_row


def _overwrite(store: EmbeddingStore, number: int, positions: npt.NDArray[np.int64]) -> dict[str, FileRecord]:
    """Rewrite one part's files and, in a store that we embedded, its marker; return the files' new records."""
    part = store.parts[number]
    records = dict(part.files)
    for kind in ("image", "text", "metadata"):
        if kind not in records:
            continue
        file = store.part_file(number, kind)
        if kind == "metadata":
            table = read_parquet(file)
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
        path = part_path(store.path, part, kind)
        # An index is built over the vectors as they were first written: compaction must not make it seem stale.
        before = records[kind]
        sample = sample_bytes(data) if before.sample is not None else None
        digest = sha256(data).hexdigest()
        records[kind] = replace(before, size=len(data), sha256=digest, origin=before.original, sample=sample)
        if sample is not None:
            note_overwriting(store.path, records[kind])
        write_atomic(path, data)
    if store.manifest.kind == "embedded":
        marker = read_marker(fspath(store.path), int(part.name))
        if marker is not None:
            write_marker(fspath(store.path), int(part.name), replace(marker, files=records))
    return records
