"""Read an embedding store: vectors by memory map, metadata by row id.

    store = EmbeddingStore.open("STORE")
    store.gather("image", [3, 14]), store.metadata([3, 14], ["key", "caption"])

A row id is the part's first row + the position in the part, and never changes. Rows listed in `forgotten/` are hidden
at once: `blocks` and `gather` give a zero vector for them and the metadata nulls, before compaction as after it. They
give a zero vector for rows with inf or NaN too, and a unit vector for all other rows but those of zeros.
"""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput, StoreInvalid
from index.files import as_path, as_url, file_identity, is_local
from index.store.file_sums import check_samples
from index.store.lookup import Lookup
from index.store.metadata import MetadataFiles, join_parts
from index.store.part_files import ForgottenRows, part_file
from index.store.store_manifest import MANIFEST_NAME, Manifest, Part, read_manifest
from index.store.vectors import (
    VectorFile,
    Vectors,
    hide_not_finite,
    normalise,
    off_unit,
    open_vectors,
    read_header,
)

__all__ = ["EmbeddingStore", "Modality", "open_vectors"]

Modality = Literal["image", "text"]
RowIds = Sequence[int] | npt.NDArray[np.int64]

# Memory maps kept open. Each holds a file descriptor: a quarter of those that the process may have, at least 256, which
# is a quarter of the usual 1,024. Linux allows a process 65,530 maps.
OPEN_MAPS = min(max(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4), 16_384)
# Rows of a part that are read sooner than mapped: opening and reading one row took 7 us, mapping its file 45 us.
READ_ROWS = 16
# A store of up to so many parts is checked when it opens (about 2 ms a part), a larger one part by part at first use.
CHECKED_AT_OPEN = 128
# Files of a remote store that are copied at once.
_COPIED_AT_ONCE = 8


class EmbeddingStore:
    """A complete store, open for reading. Safe for threads; open it with `EmbeddingStore.open`.

    path: the folder. Of a remote store it stands for the URL (`index.files.as_path`), and files are copied to this
    machine's disk when they are first read.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._first_rows = np.array([part.first_row for part in manifest.parts] + [manifest.rows], dtype=np.int64)
        self._maps: OrderedDict[tuple[str, int], Vectors] = OrderedDict()
        self._headers: dict[tuple[str, int], VectorFile] = {}  # of files that were mapped once
        self._lock = threading.Lock()
        self.is_local = is_local(path)
        self.forgotten_rows = ForgottenRows(path)
        self._manifest_identity: tuple[int, int, int] | None = None
        self._metadata = MetadataFiles(path, manifest)
        self._lookup = Lookup(path, manifest)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> EmbeddingStore:
        """Open a store and check its files; a store of many parts, or a remote one, checks each part at its first use.

        Of an adopted store, samples of the files are compared with those of the adoption: of all parts, or of some
        parts of many. `clipmine verify` compares all bytes.

        Raises:
            RemoteDown: the storage of a remote store does not answer.
            StoreInvalid: no complete store there, or a part's files disagree or were replaced (the message names it).
        """
        folder = as_path(path)
        identity = file_identity(folder / MANIFEST_NAME)  # before it is read
        store = cls(folder, read_manifest(as_url(path)))
        store._manifest_identity = identity
        count = len(store.parts) if store.is_local else 0
        for number in range(count) if count <= CHECKED_AT_OPEN else ():
            store.check_part(number)
        for number in range(0, count, -(-count // CHECKED_AT_OPEN) if count else 1):
            store._check_samples(number)
        return store

    def __repr__(self) -> str:
        texts = "images and texts" if self.has_text else "images only"
        return f"EmbeddingStore({str(self.path)!r}, {self.rows:,} rows x {self.dim}, {texts})"

    @property
    def rows(self) -> int:
        """Rows in all, forgotten ones included: row ids are 0 .. rows - 1."""
        return self.manifest.rows

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.manifest.dim

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts in the order of their rows."""
        return self.manifest.parts

    @property
    def has_text(self) -> bool:
        """Whether captions were embedded, which T2T needs."""
        return self.manifest.has_text

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """The model that made the vectors; `index.encoder.model_spec.check_same_model` compares it."""
        return self.manifest.model

    @property
    def corpus_root(self) -> str | None:
        """Folder or URL that the `shard` column is relative to; None when the image bytes are elsewhere."""
        return self.manifest.corpus_root

    @property
    def forgotten(self) -> npt.NDArray[np.int64]:
        """Sorted int64 row ids that must never be returned, as `forgotten/` has them (a remote one within 10 s)."""
        return self.forgotten_rows.rows()

    def changed(self) -> bool:
        """Whether the manifest was replaced after this store was opened: by growth, compaction or adoption.

        One system call, so that a service may ask often. An open store goes on reading the rows that it had; rows that
        are forgotten are hidden without this.
        """
        return file_identity(self.path / MANIFEST_NAME) != self._manifest_identity

    def is_forgotten(self, row_ids: RowIds) -> npt.NDArray[np.bool_]:
        """bool [n]: which of `row_ids` are forgotten."""
        ids, forgotten = np.asarray(row_ids, dtype=np.int64), self.forgotten
        if not len(forgotten):
            return np.zeros(ids.shape, dtype=np.bool_)
        places = np.minimum(np.searchsorted(forgotten, ids), len(forgotten) - 1)
        mask: npt.NDArray[np.bool_] = forgotten[places] == ids
        return mask

    def embeddings(self, modality: Modality, part: int) -> Vectors:
        """A part's vectors [rows, dim] as stored, memory-mapped; forgotten rows are not hidden as in `blocks`."""
        self._require(modality)
        with self._lock:
            vectors = self._maps.get((modality, part))
            if vectors is not None:
                self._maps.move_to_end((modality, part))
                return vectors
        vectors = self._map(modality, part)
        with self._lock:
            self._maps[(modality, part)] = vectors
            while len(self._maps) > OPEN_MAPS:
                self._maps.popitem(last=False)
        return vectors

    def blocks(
        self, modality: Modality, size: int = 65_536, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Vectors]]:
        """Yield `(first row id, vectors [size, dim])` over rows start .. stop - 1; the last block may be shorter.

        Forgotten rows and rows with inf or NaN are zero. Block boundaries do not depend on the parts; a block within
        one part is a view of the memory map, unless rows of it are zeroed or scaled.
        """
        stop = self.rows if stop is None else min(stop, self.rows)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            part = int(np.searchsorted(self._first_rows, first, side="right")) - 1
            pieces, row = [], first
            while row < last:
                begin = self.parts[part].first_row
                end = min(last, begin + self.parts[part].rows)
                if end > row:
                    piece = self.embeddings(modality, part)[row - begin : end - begin]
                    pieces.append(self._as_unit(modality, part, piece))
                    row = end
                part += 1
            block = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            yield first, self._hide(np.arange(first, last), block)

    def gather(self, modality: Modality, row_ids: RowIds) -> Vectors:
        """Vectors [n, dim] of `row_ids` in their order; BadInput for an unknown row id.

        Forgotten rows and rows with inf or NaN are zero.
        """
        ids, parts = self._locate(row_ids)
        vectors = np.empty((len(ids), self.dim), dtype=self.manifest.dtype)
        for part, places in _by_part(parts):
            some = self._rows(modality, part, ids[places] - self._first_rows[part])
            vectors[places] = self._as_unit(modality, part, some)
        return self._hide(ids, vectors)

    def metadata(self, row_ids: RowIds, columns: Sequence[str] | None = None) -> pa.Table:
        """A table of `row_ids` in their order; forgotten rows are null in every column.

        Args:
            columns: names from `index.store.metadata.METADATA_SCHEMA` or an adopted table's own; all by default. A
                column of METADATA_SCHEMA that an adopted table lacks is null.
        """
        ids, parts = self._locate(row_ids)
        if not len(ids):
            return self._metadata.read(0, ids, columns)
        found = None if columns is None else self._lookup.read(ids, columns)
        if found is not None:
            gone = self.is_forgotten(ids)
            return found.take(pa.array(np.arange(len(ids)), mask=gone)) if gone.any() else found
        runs = list(_by_part(parts))
        tables = [self._metadata.read(part, ids[places] - self._first_rows[part], columns) for part, places in runs]
        table = join_parts(tables, [self.parts[part].name for part, _ in runs], self.path)
        back = np.empty(len(ids), dtype=np.int64)
        back[np.concatenate([places for _, places in runs])] = np.arange(len(ids))
        return table.take(pa.array(back, mask=self.is_forgotten(ids)))

    def iter_metadata(
        self, columns: Sequence[str] | None = None, batch_rows: int = 65_536, include_forgotten: bool = False
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield `(first row id, table)` over all rows in order; a table never spans two parts.

        Forgotten rows are null, unless `include_forgotten` asks for what the files still hold of them.
        """
        for number, part in enumerate(self.parts):
            row = part.first_row
            for table in self.part_metadata(number, columns, batch_rows):
                gone = self.is_forgotten(np.arange(row, row + table.num_rows))
                if gone.any() and not include_forgotten:
                    table = table.take(pa.array(np.arange(table.num_rows), mask=gone))
                yield row, table
                row += table.num_rows

    def part_metadata(self, part: int, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.Table]:
        """A part's rows in order as stored; unlike `metadata` and `iter_metadata`, this shows forgotten rows."""
        return self._metadata.batches(part, columns, batch_rows)

    def part_file(self, part: int, kind: str) -> Path:
        """Path of a part's "image", "text", "metadata" or "rejects" file; of a remote store, of a copy on this disk."""
        return part_file(self.path, self.parts[part], kind)

    def copy_rows(self, modality: Modality, first: int, last: int) -> None:
        """Copy the vectors of rows first .. last - 1 to this disk, several files at once; a local store has them."""
        if self.is_local:
            return
        begin, end = (int(np.searchsorted(self._first_rows, row, side="right")) - 1 for row in (first, last - 1))
        with ThreadPoolExecutor(_COPIED_AT_ONCE) as pool:
            for _ in pool.map(lambda part: self.part_file(part, modality), range(begin, end + 1)):
                pass

    def check_part(self, part: int) -> None:
        """Compare the counts of a part's files; StoreInvalid names the part and the file that disagrees."""
        try:
            for modality in ("image", "text") if self.has_text else ("image",):
                self.embeddings(modality, part)
            self._metadata.check(part)
        except StoreInvalid as error:
            raise StoreInvalid(f"part {self.parts[part].name} of the store: {error}") from error

    def _check_samples(self, number: int) -> None:
        """Refuse an adopted part whose files were replaced, as far as samples tell.

        A part with forgotten rows is not compared: a compaction that was interrupted may have changed its files.
        """
        part = self.parts[number]
        low, high = np.searchsorted(self.forgotten, [part.first_row, part.first_row + part.rows])
        if low == high:
            check_samples(self.path, part)

    def _map(self, modality: Modality, part: int) -> Vectors:
        """Map a file of vectors; the first time, its header is read and a replaced file of a large store is refused."""
        key, known = (modality, part), self.parts[part]
        header = self._headers.get(key)
        if header is None:
            header = read_header(self.part_file(part, modality))
            expected = (known.rows, self.dim)
            if (header.rows, header.dim) != expected or str(header.dtype) != self.manifest.dtype:
                raise StoreInvalid(
                    f"{header.path}: part {known.name} should hold {expected[0]} rows of "
                    f"{expected[1]} {self.manifest.dtype}, it has {(header.rows, header.dim)} {header.dtype}"
                )
            if len(self.parts) > CHECKED_AT_OPEN or not self.is_local:
                self._check_samples(part)
            self._headers[key] = header
        return header.map()

    def _require(self, modality: str) -> None:
        if modality not in ("image", "text"):
            raise BadInput(f"no modality {modality!r}: choose image or text")
        if modality == "text" and not self.has_text:
            raise BadInput(f"{self.path}: has no text embeddings, so it cannot answer text against text (T2T)")

    def _locate(self, row_ids: RowIds) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        ids = np.asarray(row_ids, dtype=np.int64).reshape(-1)
        if len(ids) and (ids.min() < 0 or ids.max() >= self.rows):
            wrong = ids[(ids < 0) | (ids >= self.rows)][0]
            raise BadInput(f"{self.path}: has no row {wrong}; its rows are 0 to {self.rows - 1}")
        return ids, np.searchsorted(self._first_rows, ids, side="right").astype(np.int64) - 1

    def _as_unit(self, modality: Modality, part: int, vectors: Vectors) -> Vectors:
        """Rows of one part, normalised if that part's are not known to be unit vectors."""
        unit = self.parts[part].files[modality].unit_length
        if unit or (unit is None and self.manifest.unit_length and self.manifest.kind != "adopted"):
            return vectors
        finite = hide_not_finite(vectors)
        if unit is False or not self.manifest.unit_length:
            return normalise(finite)
        # An earlier version of `clipmine adopt` looked at some rows of the store only.
        wrong = off_unit(finite)
        if len(wrong):
            finite = np.array(finite)
            finite[wrong] = normalise(finite[wrong])
        return finite

    def _rows(self, modality: Modality, part: int, positions: npt.NDArray[np.int64]) -> Vectors:
        """Rows of one part as stored. A few rows of one that would take another's place among the maps are read."""
        key = (modality, part)
        header = self._headers.get(key) if len(positions) <= READ_ROWS and len(self._maps) >= OPEN_MAPS else None
        if header is not None and key not in self._maps and not header.by_column:
            return header.read(positions)
        return self.embeddings(modality, part)[positions]

    def _hide(self, ids: npt.NDArray[np.int64], vectors: Vectors) -> Vectors:
        """Rows as readers see them: zero where they are forgotten, or hold inf or NaN."""
        vectors = hide_not_finite(vectors)
        gone = self.is_forgotten(ids)
        if gone.any():
            vectors = np.array(vectors)
            vectors[gone] = 0
        return vectors


def _by_part(parts: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield `(part, positions of its rows)`; one sort for all, so that thousands of parts take no longer than a few."""
    order = np.argsort(parts, kind="stable").astype(np.int64)
    for run in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        if len(run):
            yield int(parts[run[0]]), run
