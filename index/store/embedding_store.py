"""Read an embedding store: vectors by memory map, metadata by row id.

    store = EmbeddingStore.open("STORE")
    store.gather("image", [3, 14]), store.metadata([3, 14], ["key", "caption"])

A row id is the part's first row + the position in the part, and never changes. Rows listed in `forgotten/` are hidden
at once: `blocks` and `gather` give a zero vector for them and the metadata nulls, before compaction as after it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from os import F_OK, PathLike, access, fspath, listdir
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput, StoreInvalid
from index.files import local_path, sha256_file
from index.store.lookup import Lookup
from index.store.metadata import MetadataFiles
from index.store.store_manifest import Manifest, Part, part_file, read_manifest

__all__ = ["EmbeddingStore", "Modality", "open_vectors", "verify_checksums"]

Modality = Literal["image", "text"]
Vectors = npt.NDArray[np.floating[Any]]
RowIds = Sequence[int] | npt.NDArray[np.int64]

# Memory maps kept open. Each holds a file descriptor, of which a process may have 1,024 by default.
OPEN_MAPS = 256
# A store of up to so many parts is checked when it opens (about 2 ms a part), a larger one part by part at first use.
CHECKED_AT_OPEN = 128


class EmbeddingStore:
    """A complete store on a local disk, open for reading. Safe for threads; open it with `EmbeddingStore.open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._first_rows = np.array([part.first_row for part in manifest.parts] + [manifest.rows], dtype=np.int64)
        self._maps: OrderedDict[tuple[str, int], Vectors] = OrderedDict()
        self._lock = threading.Lock()
        self._forgotten_folder = fspath(path / "forgotten")  # a string, since every search lists it
        self._forgotten: tuple[list[str], npt.NDArray[np.int64]] = ([], np.empty(0, np.int64))
        self._metadata = MetadataFiles(path, manifest)
        self._lookup = Lookup(path, manifest)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> EmbeddingStore:
        """Open a store and check its files; a store of many parts checks each part at its first use.

        Raises:
            BadInput: a remote path (embeddings are memory-mapped).
            StoreInvalid: no complete store there, or a part's files disagree (the message names the part).
        """
        store = cls(local_path(path).absolute(), read_manifest(fspath(path)))
        if len(store.parts) <= CHECKED_AT_OPEN:
            for number in range(len(store.parts)):
                store.check_part(number)
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
        """Sorted int64 row ids that must never be returned; read again whenever `forgotten/` has changed."""
        # Every search reads this, so it is kept cheap: no Path object, and no exception when nothing is forgotten.
        names = listdir(self._forgotten_folder) if access(self._forgotten_folder, F_OK) else []  # noqa: PTH208
        known, rows = self._forgotten
        if names != known:
            files = [self.path / "forgotten" / name for name in names if name.endswith(".npy")]
            lists = [_read_forgotten(file) for file in files]
            rows = np.unique(np.concatenate(lists)).astype(np.int64) if lists else np.empty(0, np.int64)
            self._forgotten = (names, rows)
        return rows

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
        vectors = open_vectors(self.part_file(part, modality))
        expected = (self.parts[part].rows, self.dim)
        if vectors.shape != expected or str(vectors.dtype) != self.manifest.dtype:
            raise StoreInvalid(
                f"{self.part_file(part, modality)}: part {self.parts[part].name} should hold {expected[0]} rows of "
                f"{expected[1]} {self.manifest.dtype}, it has {vectors.shape} {vectors.dtype}"
            )
        with self._lock:
            self._maps[(modality, part)] = vectors
            while len(self._maps) > OPEN_MAPS:
                self._maps.popitem(last=False)
        return vectors

    def blocks(
        self, modality: Modality, size: int = 65_536, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Vectors]]:
        """Yield `(first row id, vectors [size, dim])` over rows start .. stop - 1; the last block may be shorter.

        Forgotten rows are zero. Block boundaries do not depend on the parts; a block within one part is a view of the
        memory map.
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
                    pieces.append(self.embeddings(modality, part)[row - begin : end - begin])
                    row = end
                part += 1
            block = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            yield first, self._as_readers_see(np.arange(first, last), block)

    def gather(self, modality: Modality, row_ids: RowIds) -> Vectors:
        """Vectors [n, dim] of `row_ids` in their order, zero for forgotten rows; BadInput for an unknown row id."""
        ids, parts = self._locate(row_ids)
        vectors = np.empty((len(ids), self.dim), dtype=self.manifest.dtype)
        for part, places in _by_part(parts):
            vectors[places] = self.embeddings(modality, part)[ids[places] - self._first_rows[part]]
        return self._as_readers_see(ids, vectors)

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
        table = pa.concat_tables(tables, promote_options="permissive")
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
        """Path of a part's "image", "text", "metadata" or "rejects" file."""
        return part_file(self.path, self.parts[part], kind)

    def check_part(self, part: int) -> None:
        """Compare the counts of a part's files; StoreInvalid names the part and the file that disagrees."""
        try:
            for modality in ("image", "text") if self.has_text else ("image",):
                self.embeddings(modality, part)
            self._metadata.check(part)
        except StoreInvalid as error:
            raise StoreInvalid(f"part {self.parts[part].name} of the store: {error}") from error

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

    def _as_readers_see(self, ids: npt.NDArray[np.int64], vectors: Vectors) -> Vectors:
        if not self.manifest.unit_length:
            wide = vectors.astype(np.float32)
            norms = np.linalg.norm(wide, axis=1, keepdims=True)
            vectors = (wide / np.where(norms > 0, norms, 1)).astype(self.manifest.dtype)
        gone = self.is_forgotten(ids)
        if gone.any():
            vectors = np.array(vectors)
            vectors[gone] = 0
        return vectors


def _read_forgotten(path: Path) -> npt.NDArray[np.int64]:
    try:
        rows: npt.NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise StoreInvalid(
            f"{path}: this list of forgotten rows is damaged; restore it, or forget its rows again"
        ) from error
    return rows


def _by_part(parts: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield `(part, positions of its rows)`; one sort for all, so that thousands of parts take no longer than a few."""
    order = np.argsort(parts, kind="stable").astype(np.int64)
    for run in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        if len(run):
            yield int(parts[run[0]]), run


def open_vectors(path: Path) -> Vectors:
    """Memory-map a .npy file of vectors, read-only; StoreInvalid when it is missing, truncated or not such a file."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise StoreInvalid(f"{path}: is missing") from error
    except (ValueError, OSError) as error:
        raise StoreInvalid(f"{path}: cannot be read as a .npy file ({str(error).splitlines()[0]})") from error
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32):
        raise StoreInvalid(f"{path}: holds {vectors.dtype} {vectors.shape}, not rows of float16 or float32")
    opened: Vectors = vectors
    return opened


def verify_checksums(store: EmbeddingStore) -> int:
    """Read every file of the store and compare its SHA-256; return how many have no recorded hash (adopted stores).

    Raises:
        StoreInvalid: names the first part and file that differ.
    """
    unknown = 0
    for number, part in enumerate(store.parts):
        store.check_part(number)
        for kind, record in part.files.items():
            if record.sha256 is None:
                unknown += 1
            elif sha256_file(store.part_file(number, kind)) != record.sha256:
                raise StoreInvalid(
                    f"part {part.name} of the store: {record.path} has changed since it was written; "
                    "restore it, or finish an interrupted `clipmine compact`"
                )
    return unknown
