"""One reader over every kind of corpus: webdataset tars as img2dataset writes them, or a folder of images.

`list_items` cuts a source into numbered units of work, `read_item` streams one of them, `read_image` reads one image
back through the store. Every sample comes out once, as a Sample or as a Reject with its reason. Decodes nothing
(`index.corpus.images` does), and knows no models.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from index import files
from index.corpus.caption_pattern import parse_caption_pattern
from index.corpus.folder import broken_link, read_folder_item
from index.corpus.images import MAX_IMAGE_BYTES
from index.corpus.samples import Reject, Sample, ShardItem
from index.corpus.sources import list_items
from index.corpus.tar_samples import read_tar_item
from index.errors import BadInput, ImagesNotLocal, StoreInvalid

__all__ = ["ImageStore", "Reject", "Sample", "ShardItem", "list_items", "read_image", "read_item"]


def read_item(item: ShardItem, max_bytes: int = MAX_IMAGE_BYTES) -> Iterator[Sample | Reject]:
    """Stream an item's samples in the source's order, one at a time in memory.

    Images above `max_bytes` are rejected unread. BadInput when a tar is gone or has another size than when it was
    listed; I/O errors pass through, so that a lost network never looks like a short corpus.
    """
    pattern = parse_caption_pattern(item.caption_pattern) if item.caption_pattern is not None else None
    if item.kind == "tar":
        return read_tar_item(item, pattern, max_bytes)
    return read_folder_item(item, pattern, max_bytes)


class ImageStore(Protocol):
    """What `read_image` needs of a store."""

    @property
    def rows(self) -> int: ...
    @property
    def corpus_root(self) -> str | None: ...
    @property
    def forgotten(self) -> Any: ...
    def metadata(self, row_ids: Any, columns: Sequence[str] | None = None) -> Any: ...


def read_image(store: ImageStore, row_id: int) -> bytes:
    """The encoded bytes of a row's image, by one ranged read from its shard.

    Raises ImagesNotLocal where the store knows no corpus (adopted embeddings), BadInput for a row that is not there or
    was forgotten, StoreInvalid when the shard no longer holds the bytes that were embedded.
    """
    if not 0 <= row_id < store.rows:
        raise BadInput(f"row {row_id}: the store has rows 0 to {store.rows - 1}")
    place = bisect_left(store.forgotten, row_id)
    if place < len(store.forgotten) and store.forgotten[place] == row_id:
        raise BadInput(f"row {row_id}: was forgotten, so its image is not given out")
    remedy = "fetch the images of a selection with `clipmine fetch SELECTION`"
    if store.corpus_root is None:
        raise ImagesNotLocal(f"the store has embeddings without images: {remedy}")
    row = store.metadata([row_id], columns=["shard", "offset", "size", "sha256"]).to_pylist()[0]
    if row["shard"] is None or row["offset"] is None or row["size"] is None:
        raise ImagesNotLocal(f"row {row_id}: the store does not say where its image is: {remedy}")
    path = files.join_inside(store.corpus_root, row["shard"])
    if not row["shard"].endswith(".tar") and broken_link(store.corpus_root, row["shard"]):
        raise BadInput(f"{path}: is a link out of the corpus folder; it is not followed")
    try:
        data = files.read_bytes_range(path, row["offset"], row["size"])
    except FileNotFoundError as error:
        raise ImagesNotLocal(f"{path}: is gone; put the corpus back under {store.corpus_root}") from error
    if len(data) != row["size"] or (row["sha256"] and hashlib.sha256(data).hexdigest() != row["sha256"]):
        raise StoreInvalid(f"{path}: no longer holds the image of row {row_id}; the corpus changed, embed it again")
    return data
