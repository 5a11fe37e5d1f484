"""One reader over every kind of corpus: webdataset tars as img2dataset writes them, or a folder of images.

`list_items` cuts a source into numbered units of work, `read_item` streams one of them, `read_image` reads one image
back through the store. Every sample comes out once, as a Sample or as a Reject with its reason. Decodes nothing
(`index.images` does), and knows no models.
"""

from __future__ import annotations

from collections.abc import Iterator

from index.images import MAX_IMAGE_BYTES
from index.samples import Reject, Sample, ShardItem

__all__ = ["Reject", "Sample", "ShardItem", "list_items", "read_item"]


def list_items(
    source: str,
    shard_size: int = 10_000,
    caption_pattern: str | None = None,
    allow_empty_caption: bool = False,
) -> list[ShardItem]:
    """Cut `source` into numbered items, in sorted order, the same at each call."""
    raise NotImplementedError


def read_item(item: ShardItem, max_bytes: int = MAX_IMAGE_BYTES) -> Iterator[Sample | Reject]:
    """Stream an item's samples in the source's order."""
    raise NotImplementedError
