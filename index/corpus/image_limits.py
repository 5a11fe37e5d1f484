"""Why an image file is rejected, the limits of one, and what decoding it will take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DECODE_REASONS",
    "MAX_ASPECT_RATIO",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "MAX_METADATA_PARTS",
    "MAX_SCANS",
    "MAX_WORK_PER_PIXEL",
    "ImageRejected",
    "ImageSize",
]

MAX_IMAGE_BYTES = 64 << 20  # the largest photographs of today's cameras stay under it
MAX_IMAGE_PIXELS = (1 << 30) // 4 // 3  # 89 megapixels: Pillow's own limit, a quarter GiB of RGB
# Preprocessing scales the short side to 224 or more: at 100:1 that makes 15 MB of RGB, at 50,000:1 it would be 7 GB.
MAX_ASPECT_RATIO = 100
# libtiff's limit for a progressive JPEG (JPEG_MAX_ALLOWED_SCAN_NUMBER in tif_jpeg.c). cjpeg and the encoders of cameras
# and web sites write about 10, mozjpeg up to 20. The JPEG standard has no limit, and each scan goes over all pixels.
MAX_SCANS = 100
# Work of an image, relative to the limit of its pixels. A progressive JPEG of 10 scans has 3.5, the slowest usual
# format (JPEG XL) 7.
MAX_WORK_PER_PIXEL = 8
# Segments, chunks, blocks, boxes or tags of a file that are not its pixels. Pillow reads most of them in Python, at a
# few microseconds each. The largest usual number is that of a JPEG with extended XMP: 1,000 segments of 64 KiB.
MAX_METADATA_PARTS = 10_000

DECODE_REASONS = frozenset(
    {
        "empty_image",  # no bytes
        "too_many_bytes",
        "too_many_pixels",
        "too_many_scans",  # a JPEG of more than MAX_SCANS scans
        "too_much_work",  # decoding would take far longer than for another image of the largest size
        "too_much_metadata",  # more parts than MAX_METADATA_PARTS, or parts that overlap
        "too_elongated",  # beyond MAX_ASPECT_RATIO
        "unknown_format",  # not a raster format that is read: text, HTML, SVG, PostScript, ...
        "needs_pillow_heif",  # a HEIC or HEIF image; the package pillow-heif is not installed
        "needs_pillow_jxl_plugin",  # a JPEG XL image; the package pillow-jxl-plugin is not installed
        "unsupported_mode",  # 32-bit integers, floats and CIE Lab: their conversion to 8-bit RGB is ambiguous
        "broken_image",  # the format is known, the data is damaged or truncated
        "decoder_crashed",  # the codec ended two processes of `index.corpus.decoders` (SIGSEGV, SIGABRT, ...)
    }
)


class ImageRejected(ValueError):
    """The image cannot be used; `reason` is one of DECODE_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ImageSize:
    """What an image file's header says of the image, and what decoding it to RGB takes.

    Attributes:
        width, height: pixels, before EXIF's rotation.
        peak_bytes: estimate of the memory that `decode_image` takes at its peak, besides the file's own bytes.
        work: estimate of the time it takes, in pixels of a sequential JPEG: about 7 ns each on a core of a server.
        scalable: whether it can be decoded at 1/2, 1/4 or 1/8 of its size without the memory of the whole: a sequential
            JPEG. The work stays, as all data has to be read.
    """

    width: int
    height: int
    peak_bytes: int
    work: int
    scalable: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height
