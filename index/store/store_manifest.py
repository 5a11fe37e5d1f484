"""The manifest of a store, `manifest.json`. It is written last, so its existence means that the store is complete.

It lists the parts in order with their counts and checksums, the model's fingerprint and the corpus root. A row id is
the part's first row + the position in the part. The manifest holds no times, hosts or executors, so equal work gives
equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from index.errors import StoreInvalid
from index.files import exists, join, read_bytes, write_atomic

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "FileRecord",
    "Manifest",
    "Origin",
    "Part",
    "part_paths",
    "read_manifest",
    "write_manifest",
]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

# Folders and names of clip-retrieval, in which LAION published its embeddings; `rejects` is added by us.
_PATHS = {
    "image": "img_emb/img_emb_{}.npy",
    "text": "text_emb/text_emb_{}.npy",
    "metadata": "metadata/metadata_{}.parquet",
    "rejects": "rejects/rejects_{}.parquet",
}


def part_paths(number: int) -> dict[str, str]:
    """Paths of a part's files by kind, relative to the store; part numbers have four digits at least, as LAION's."""
    return {kind: pattern.format(f"{number:04d}") for kind, pattern in _PATHS.items()}


@dataclass(frozen=True, slots=True)
class Origin:
    """Size and checksum of a file before compaction first changed it.

    `sha256` is the file's `sample` where an adopted store has one, None where nothing was known.
    """

    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a part.

    Attributes:
        path: relative to the store.
        sha256: of the whole file; None where an adopted store was not hashed.
        origin: None while the file is as it was first written.
        sample: of an adopted store, `index.store.file_sums.sample_file` of the file.
        unit_length: of vectors, whether all rows with a direction have length 1; None where `Manifest.unit_length`
            says it of the whole store.
    """

    path: str
    size: int
    sha256: str | None
    origin: Origin | None = None
    sample: str | None = None
    unit_length: bool | None = None

    @property
    def original(self) -> Origin:
        """Size and checksum of the file as it was first written, which compaction does not change.

        The sample stands before the SHA-256, so that recording the latter later changes nothing.
        """
        return self.origin or Origin(self.size, self.sample or self.sha256)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> FileRecord:
        """A record as `to_json` gives it; TypeError for unknown or missing fields."""
        origin = plain.get("origin")
        return cls(**{**plain, "origin": None if origin is None else Origin(**origin)})

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON data, without those that are None by default."""
        return {name: value for name, value in asdict(self).items() if value is not None or name == "sha256"}


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows with their files. `read` counts the samples that were read: rows + rejected ones."""

    name: str
    first_row: int
    rows: int
    read: int
    files: Mapping[str, FileRecord]  # by "image", "text", "metadata", "rejects"; text and rejects may be absent


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` holds.

    Attributes:
        kind: "embedded" (by `clipmine embed`) or "adopted" (from clip-retrieval or LAION).
        dim: number of components of a vector.
        dtype: "float16" or "float32", little-endian.
        unit_length: whether all stored rows are unit vectors; if not, readers normalise those of the files that are
            not (`FileRecord.unit_length`).
        model: the encoder's fingerprint (see `index.encoder.model_spec`); `{"name": "unknown"}` if not known.
        corpus_root: folder or URL that `shard` is relative to; None when the image bytes are elsewhere.
        columns: of an adopted store, our name of a metadata column -> its own name, where they differ.
        other_columns: of an adopted store, its columns that have no name of ours -> the type that readers give them,
            as Arrow names it, whatever type they have in single parts.
        config: the options that decide the embedding job's result; `config_hash` is its hash.
        totals: read, rows, rejected (by reason), captions_cut, duplicate_keys.
    """

    kind: Literal["embedded", "adopted"]
    dim: int
    dtype: str
    unit_length: bool
    model: Mapping[str, Any]
    corpus_root: str | None
    parts: tuple[Part, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    other_columns: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in all parts, forgotten ones included."""
        return self.parts[-1].first_row + self.parts[-1].rows if self.parts else 0

    @property
    def has_text(self) -> bool:
        """Whether every part has text embeddings."""
        return bool(self.parts) and all("text" in part.files for part in self.parts)

    def to_json(self) -> str:
        """The file's text, with one line for each part, so that 40,000 parts stay readable and quick to parse."""
        head = asdict(replace(self, parts=()))  # asdict would copy every part
        head.pop("parts")
        if not self.other_columns:
            head.pop("other_columns")
        text = json.dumps({"format": "clipmine-store", "version": FORMAT_VERSION, **head}, indent=1)
        lines = ",\n".join("  " + json.dumps(_part_json(part)) for part in self.parts)
        return f'{text[:-2]},\n "parts": [\n{lines}\n ]\n}}\n'


def write_manifest(store: str, manifest: Manifest) -> None:
    """Write STORE/manifest.json, whole or not at all."""
    write_atomic(join(store, MANIFEST_NAME), manifest.to_json())


def read_manifest(store: str) -> Manifest:
    """Read STORE/manifest.json.

    Raises:
        StoreInvalid: no store there, an unfinished one, one that wants adopting, or a broken manifest.
    """
    path = join(store, MANIFEST_NAME)
    if not exists(path):
        raise StoreInvalid(_why_missing(store))
    try:
        plain = json.loads(read_bytes(path))
        if not isinstance(plain, dict) or plain.pop("format", None) != "clipmine-store":
            raise StoreInvalid(f"{path}: is not the manifest of a store")
        version = plain.pop("version", None)
        if version != FORMAT_VERSION:
            raise StoreInvalid(f"{path}: has version {version}, this program reads {FORMAT_VERSION}; update it")
        parts, first_row = [], 0
        for entry in plain.pop("parts"):
            files = {kind: FileRecord.from_json(record) for kind, record in entry.pop("files").items()}
            part = Part(first_row=first_row, files=files, **entry)
            first_row += part.rows
            parts.append(part)
        return Manifest(parts=tuple(parts), **plain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreInvalid(f"{path}: is damaged ({error}); embed again into a new folder") from error


def _part_json(part: Part) -> dict[str, Any]:
    files = {kind: record.to_json() for kind, record in part.files.items()}
    return {"name": part.name, "rows": part.rows, "read": part.read, "files": files}


def _why_missing(store: str) -> str:
    if not exists(store):
        return f"{store}: there is no such store"
    if exists(join(store, "embed.json")):
        return f"{store}: its embedding has not finished; run the same `clipmine embed` again to continue it"
    if exists(join(store, "img_emb")):
        return f"{store}: has embeddings and no manifest; run `clipmine adopt {store}` first"
    return f"{store}: is not an embedding store (it has no {MANIFEST_NAME})"
