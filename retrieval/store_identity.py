"""What tells that a selection, or image sets, belong to a store, wherever both are now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from index.files import as_url, hash_json, is_local, local_path
from index.store.embedding_store import EmbeddingStore

__all__ = ["describe_store", "store_identity"]


def store_identity(store: EmbeddingStore, parts: int | None = None) -> str:
    """A hash of the model and of the first `parts` parts' names and counts (default: all parts).

    Adding parts, forgetting rows and compaction do not change it (nor any row id). Two stores with the same model,
    part names and counts have the same identity; their keys are compared when images are read.
    """
    chosen = store.parts if parts is None else store.parts[:parts]
    return hash_json([dict(store.fingerprint), [[part.name, part.rows] for part in chosen]])


def describe_store(store: EmbeddingStore, selection: str) -> dict[str, Any]:
    """The `store` entry of a selection's manifest: absolute path, path relative to the selection, identity, model."""
    relative = None
    if is_local(selection) and store.is_local:
        relative = Path(os.path.relpath(store.path, local_path(selection).absolute())).as_posix()
    return {
        "path": as_url(store.path),
        "relative": relative,
        "rows": store.rows,
        "parts": len(store.parts),
        "identity": store_identity(store),
        "model": dict(store.fingerprint),
    }
