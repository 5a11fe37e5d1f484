"""A row's image, read back from the corpus shard that the row was embedded from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from index import files
from index.corpus.image_folder import broken_link
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.store.embedding_store import EmbeddingStore

__all__ = ["read_image", "read_image_at"]

_REMEDY = "fetch the images of a selection with `clipmine fetch SELECTION`"


def read_image(store: EmbeddingStore, row_id: int) -> bytes:
    """The encoded bytes of a row's image, by one ranged read from its corpus shard.

    Raises:
        BadInput: the store has no such row, the row was forgotten, or its shard lies outside the corpus folder.
        ImagesNotLocal: the store has no corpus (adopted embeddings), or the shard is gone.
        StoreInvalid: the shard no longer holds the bytes that were embedded.
    """
    if not 0 <= row_id < store.rows:
        raise BadInput(f"row {row_id}: the store has rows 0 to {store.rows - 1}")
    if store.is_forgotten([row_id])[0]:
        raise BadInput(f"row {row_id}: was forgotten, so its image is not given out")
    if store.corpus_root is None:
        raise ImagesNotLocal(f"the store has embeddings without images: {_REMEDY}")
    place = store.metadata([row_id], columns=["shard", "offset", "size", "sha256"]).to_pylist()[0]
    return read_image_at(store.corpus_root, row_id, place)


def read_image_at(corpus_root: str, row_id: int, row: Mapping[str, Any]) -> bytes:
    """The same for a row whose `shard`, `offset`, `size` and `sha256` are known; raises as `read_image` does."""
    if row["shard"] is None or row["offset"] is None or row["size"] is None:
        raise ImagesNotLocal(f"row {row_id}: the store does not say where its image is: {_REMEDY}")
    path = files.join_inside(corpus_root, row["shard"])
    if not row["shard"].endswith(".tar") and broken_link(corpus_root, row["shard"]):
        raise BadInput(f"{path}: is a link out of the corpus folder; it is not followed")
    try:
        data = files.read_bytes_range(path, row["offset"], row["size"])
    except FileNotFoundError as error:
        raise ImagesNotLocal(f"{path}: is gone; put the corpus back under {corpus_root}") from error
    if len(data) != row["size"] or (row["sha256"] and hashlib.sha256(data).hexdigest() != row["sha256"]):
        raise StoreInvalid(f"{path}: no longer holds the image of row {row_id}; the corpus changed, embed it again")
    return data
