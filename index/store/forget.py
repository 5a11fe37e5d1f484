"""Removing rows from a store: `forget_rows` hides them from every reader at once, `compact_store` overwrites them.

Row ids do not change: a forgotten row keeps its id, its vector reads as zeros and its metadata as nulls. The images are
in the corpus, which is not changed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import fspath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import remove_partial, write_atomic
from index.store.embed_item import read_marker, write_marker
from index.store.embedding_store import EmbeddingStore, open_vectors
from index.store.find_rows import FoundRows, Named, find_rows
from index.store.lookup import build_lookup, remove_lookups
from index.store.metadata import parquet_bytes
from index.store.output_register import HoldingOutput, holding_outputs
from index.store.store_manifest import FileRecord, Part, read_manifest, write_manifest

__all__ = ["CompactReport", "ForgetReport", "compact_store", "forget_rows"]


@dataclass(frozen=True)
class ForgetReport:
    """Counts of `forget_rows`, what no row has, and the outputs that hold forgotten rows.

    unknown_keys, unknown_urls, unknown_sha256: what was given and no row has, or what compaction has erased. outputs:
    selections, exports, image sets and models made from this store that hold any of its forgotten rows, as far as the
    store knows them (`index.store.output_register`).
    """

    forgotten: int  # rows forgotten by this call
    already: int  # rows that had been forgotten before
    unknown_keys: tuple[str, ...]
    unknown_urls: tuple[str, ...] = ()
    unknown_sha256: tuple[str, ...] = ()
    outputs: tuple[HoldingOutput, ...] = ()


@dataclass(frozen=True)
class CompactReport:
    """Counts of what `compact_store` overwrote."""

    rows: int
    parts: int


def forget_rows(
    store: EmbeddingStore,
    keys: Iterable[str] | None = None,
    row_ids: Sequence[int] | None = None,
    *,
    urls: Iterable[str] | None = None,
    sha256: Iterable[str] | None = None,
) -> ForgetReport:
    """Forget the rows with these keys, URLs and SHA-256 sums of image files (all rows of each) and these row ids.

    Texts are compared exactly, but for blanks at their ends and the case of a sum: `http://a.org/1.jpg` and
    `https://a.org/1.jpg` are two URLs. Stores that are open already hide the rows from their next call on.

    Raises:
        BadInput: nothing given, a row id that the store does not have, or not one of all texts is in the store (and no
            row id was given).
    """
    columns: dict[Named, Iterable[str]] = {"key": keys or (), "url": urls or (), "sha256": sha256 or ()}
    given = {name: values for name, texts in columns.items() if (values := [text for text in texts if text.strip()])}
    ids = [np.asarray(row_ids if row_ids is not None else (), dtype=np.int64)]
    if not given and not len(ids[0]):
        raise BadInput("nothing to forget: give keys, URLs, SHA-256 sums or row ids")
    if len(ids[0]) and (ids[0].min() < 0 or ids[0].max() >= store.rows):
        raise BadInput(f"{store.path}: its rows are 0 to {store.rows - 1}, not {ids[0].min()} to {ids[0].max()}")
    found = find_rows(store, given)
    if not len(ids[0]) and not any(len(each.rows) for each in found.values()):
        raise BadInput(_nothing_found(store, found))
    asked = np.unique(np.concatenate([*ids, *(each.rows for each in found.values())]))
    new = asked[~store.is_forgotten(asked)]
    if len(new):
        stream = io.BytesIO()
        np.save(stream, new, allow_pickle=False)
        data = stream.getvalue()
        # Named by its content: two writers at once never write the same file, and forgetting twice adds no second file.
        write_atomic(fspath(store.path / "forgotten" / f"forgotten_{hashlib.sha256(data).hexdigest()[:16]}.npy"), data)
    missing = {name: each.missing for name, each in found.items()}
    return ForgetReport(
        len(new),
        len(asked) - len(new),
        missing.get("key", ()),
        missing.get("url", ()),
        missing.get("sha256", ()),
        holding_outputs(store),
    )


def _nothing_found(store: EmbeddingStore, found: Mapping[Named, FoundRows]) -> str:
    words = {"key": "keys", "url": "URLs", "sha256": "SHA-256 sums"}
    parts = [
        f"{len(each.missing)} {words[name]} (the first is {each.missing[0]!r:.200})" for name, each in found.items()
    ]
    without = [words[name] for name, each in found.items() if not each.any_value]
    why = f"; its rows have no {' and no '.join(without)}" if without else ""
    return f"{store.path}: has no row with any of the {' or the '.join(parts)}{why}"


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
        records[kind] = FileRecord(records[kind].path, len(data), hashlib.sha256(data).hexdigest())
    if store.manifest.kind == "embedded":
        marker = read_marker(fspath(store.path), int(part.name))
        if marker is not None:
            write_marker(fspath(store.path), int(part.name), replace(marker, files=records))
    return replace(part, files=records)
