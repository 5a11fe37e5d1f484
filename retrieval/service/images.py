"""A row's image for the web: the original bytes with their type, or a small JPEG. Knows no HTTP."""

from __future__ import annotations

import io
import logging

from index.corpus.images import ImageRejected, decode_image
from index.corpus.reader import read_image
from index.errors import BadInput, ImagesNotLocal
from index.store.embedding_store import EmbeddingStore
from retrieval.service.backend import Unavailable

__all__ = ["media_type", "original", "thumbnail"]

log = logging.getLogger("clipmine.service")

# By their first bytes. Anything else is sent as bytes to save, never as something a browser would run.
_TYPES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def media_type(data: bytes) -> str:
    """The type of an image file; application/octet-stream for what is none that we know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return next((name for start, name in _TYPES if data.startswith(start)), "application/octet-stream")


def _read(store: EmbeddingStore, row_id: int) -> bytes:
    """The image's bytes. What is wrong with the corpus is the operator's to know: the log names the file."""
    try:
        return read_image(store, row_id)
    except (BadInput, OSError) as error:
        if isinstance(error, ImagesNotLocal) and not isinstance(error.__cause__, OSError):
            raise  # the store has no images, or none of this row: for ever so
        log.error("row %d: %s", row_id, error)
        raise Unavailable(f"the image of row {row_id} cannot be read now", retry_after=30) from error


def original(store: EmbeddingStore, row_id: int) -> tuple[bytes, str]:
    """The file as it lies in the corpus, and its type. ImagesNotLocal where the store has none, else Unavailable."""
    data = _read(store, row_id)
    return data, media_type(data)


def thumbnail(store: EmbeddingStore, row_id: int, side: int) -> bytes:
    """A JPEG whose longer side is at most `side` pixels. Raises ImagesNotLocal for a file that can't be decoded."""
    try:
        image = decode_image(_read(store, row_id))
    except ImageRejected as error:
        raise ImagesNotLocal(f"row {row_id}: its image cannot be shown ({error.reason.replace('_', ' ')})") from error
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()
