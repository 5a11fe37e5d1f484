"""Which generation of a store is open: of its manifest and its indexes, which jobs replace while it is served."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from index.files import exists, file_identity, read_bytes
from index.graph.index_manifest import index_folder, manifest_path
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import MANIFEST_NAME

__all__ = ["Identity", "files_identity", "generation_name"]

Identity = tuple[tuple[int, int, int] | None, ...]


def files_identity(store: EmbeddingStore) -> Identity:
    """What changes when one of the files is replaced. One system call a file, so that a service may ask often."""
    return tuple(file_identity(path) for path in _files(store))


def generation_name(store: EmbeddingStore) -> str:
    """12 hex digits of a hash of the files' contents, the same wherever the same files are served."""
    digest = sha256()
    for path in _files(store):
        content = read_bytes(path) if exists(path) else b""
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:12]


def _files(store: EmbeddingStore) -> list[Path]:
    indexes = [manifest_path(index_folder(store, modality)) for modality in ("image", "text")]
    return [store.path / MANIFEST_NAME, *indexes]
