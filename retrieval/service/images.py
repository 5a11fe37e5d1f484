"""A row's image for the web: the original file with its media type, or a small JPEG."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from index.corpus.image_decoding import (
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PIXELS,
    ImageRejected,
    decode_thumbnail,
    image_extension,
)
from index.corpus.image_size import measure_image
from index.errors import BadInput, ImagesNotLocal
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval.service.backend import Unavailable
from retrieval.service.settings import Settings

__all__ = ["ThumbnailSize", "cost_of_images", "media_type", "original", "small_jpeg", "thumbnail", "unusable"]

DECODED_AT_ONCE = 2  # threads of `LocalEncoder`
SECONDS_OF_WORK = 7e-9  # of `ImageSize.work`, a pixel of a sequential JPEG


@dataclass(frozen=True)
class ThumbnailSize:
    """side: of a thumbnail's longer side at most, in pixels. max_bytes, max_pixels: of the image that it is made from,
    see `index.corpus.image_decoding.decode_thumbnail`."""

    side: int
    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = MAX_IMAGE_PIXELS


log = logging.getLogger("clipmine.service")

_MEDIA_TYPES = {"jpg": "image/jpeg", "tif": "image/tiff"}  # the others are called as their extension


def media_type(data: bytes) -> str:
    """The media type of an image file; application/octet-stream for other bytes, which browsers save and never run."""
    extension = image_extension(data)
    if extension is None:
        return "application/octet-stream"
    return _MEDIA_TYPES.get(extension, f"image/{extension}")


def _read(store: EmbeddingStore, row_id: int) -> bytes:
    """The image file's bytes. Errors of the corpus go to the log with the file's name; the client gets none of it."""
    try:
        return read_image(store, row_id)
    except (BadInput, OSError) as error:
        if isinstance(error, ImagesNotLocal) and not isinstance(error.__cause__, OSError):
            raise  # the store has no images, or none of this row: trying again will not help
        log.error("row %d: %s", row_id, error)
        raise Unavailable(f"the image of row {row_id} cannot be read now", retry_after=30) from error


def cost_of_images(files: Sequence[bytes], settings: Settings) -> tuple[int, float]:
    """Bytes and seconds that decoding image files takes, from their headers. BadInput names one that cannot be used."""
    sizes = []
    for place, data in enumerate(files):
        if image_extension(data) == "jxl":  # its layers and references are not in the header
            raise BadInput(
                f"image {place}: JPEG XL is not read here, as its header does not say what decoding it takes"
            )
        try:
            sizes.append(measure_image(data, settings.max_image_bytes, settings.max_image_pixels))
        except ImageRejected as error:
            raise unusable(place, error) from error
    peaks = sorted(size.peak_bytes for size in sizes)[-DECODED_AT_ONCE:]
    return sum(peaks) + sum(map(len, files)), sum(size.work for size in sizes) * SECONDS_OF_WORK


def unusable(place: int, error: ImageRejected) -> BadInput:
    """The error for an image of a request that is rejected."""
    return BadInput(f"image {place}: cannot be used ({error.reason.replace('_', ' ')})")


def original(store: EmbeddingStore, row_id: int) -> tuple[bytes, str]:
    """The file as it is in the corpus, and its media type.

    Raises ImagesNotLocal where the store has no image of the row, Unavailable where it cannot be read now.
    """
    data = _read(store, row_id)
    return data, media_type(data)


def thumbnail(store: EmbeddingStore, row_id: int, size: ThumbnailSize) -> bytes:
    """A row's image as a small JPEG.

    Raises as `original`, and ImagesNotLocal for a file that is broken or beyond a limit.
    """
    try:
        return small_jpeg(_read(store, row_id), size)
    except ImageRejected as error:
        raise ImagesNotLocal(f"row {row_id}: its image cannot be shown ({error.reason.replace('_', ' ')})") from error


def small_jpeg(data: bytes, size: ThumbnailSize) -> bytes:
    """An image file as a small JPEG. Raises ImageRejected."""
    image = decode_thumbnail(data, size.side, size.max_bytes, size.max_pixels)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()
