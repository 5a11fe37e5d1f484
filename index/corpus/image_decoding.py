"""Decoding images: encoded bytes become an upright 8-bit RGB image, or are rejected with a reason.

Only raster formats of the web are opened, recognised by their content and never by the file's name, so no image can
start a PostScript interpreter or fetch anything. The size is read from the header before any pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import AvifImagePlugin as _AvifImagePlugin  # noqa: F401  importing registers the format
from PIL import BmpImagePlugin as _BmpImagePlugin  # noqa: F401
from PIL import GifImagePlugin as _GifImagePlugin  # noqa: F401
from PIL import Image
from PIL import JpegImagePlugin as _JpegImagePlugin  # noqa: F401
from PIL import PngImagePlugin as _PngImagePlugin  # noqa: F401
from PIL import TiffImagePlugin as _TiffImagePlugin  # noqa: F401
from PIL import WebPImagePlugin as _WebPImagePlugin  # noqa: F401

__all__ = [
    "DECODE_REASONS",
    "MAX_ASPECT_RATIO",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "ImageRejected",
    "decode_image",
    "image_extension",
]

MAX_IMAGE_BYTES = 64 << 20  # the largest photographs of today's cameras stay under it
MAX_IMAGE_PIXELS = (1 << 30) // 4 // 3  # 89 megapixels: Pillow's own limit, a quarter GiB of RGB
# Preprocessing scales the short side to 224 or more: at 100:1 that makes 15 MB of RGB, at 50,000:1 it would be 7 GB.
MAX_ASPECT_RATIO = 100

DECODE_REASONS = frozenset(
    {
        "empty_image",  # no bytes
        "too_many_bytes",
        "too_many_pixels",
        "too_elongated",  # beyond MAX_ASPECT_RATIO
        "unknown_format",  # not a raster format of the web: text, HTML, SVG, PostScript, ...
        "unsupported_mode",  # 32-bit integers, floats and CIE Lab: their conversion to 8-bit RGB is ambiguous
        "broken_image",  # the format is known, the data is damaged or truncated
    }
)

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG's factory covers cameras' MPO too
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)
_ORIENTATION = 0x0112  # EXIF 2.3, tag 274; values 2-8 say how to turn
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF 6.0; photometric 0 is "white is zero"

# Pillow warns about odd metadata for each image; with millions of images the log would hold little else.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageRejected(ValueError):
    """The image cannot be used; `reason` is one of DECODE_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode_image(data: bytes, max_bytes: int = MAX_IMAGE_BYTES, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Decode to an upright 8-bit RGB image; ImageRejected otherwise.

    Of an animation the first frame is taken. EXIF rotation is applied, transparent images are put on white, 16-bit
    samples are scaled (65535 -> 255), and CMYK JPEGs are read as inverted, as Adobe and all browsers read them.
    """
    if not data:
        raise ImageRejected("empty_image")
    if len(data) > max_bytes:
        raise ImageRejected("too_many_bytes")
    try:
        image = _open(data)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageRejected("too_many_pixels")
        if width <= 0 or height <= 0:
            raise ImageRejected("broken_image")
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise ImageRejected("too_elongated")
        image.load()
        return _upright(image, _to_rgb(image))
    except (ImageRejected, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected("too_many_pixels") from error
    except Exception as error:  # a codec may raise any exception for a damaged file
        raise ImageRejected("broken_image") from error


def image_extension(data: bytes) -> str | None:
    """The file extension that fits an image file's first bytes: jpg, png, gif, bmp, tif, webp or avif; None for others.

    Looks at the first 32 bytes only, so the file may still be damaged further on.
    """
    for start, extension in _SIGNATURES:
        if data.startswith(start):
            return extension
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    # AVIF 1.1, sections 5 and 6: the brand of a still image or of a sequence, as the major or a compatible one.
    is_avif = data[4:8] == b"ftyp" and (b"avif" in data[8:32] or b"avis" in data[8:32])
    return "avif" if is_avif else None


def _open(data: bytes) -> Image.Image:
    """Read the header. Unlike Image.open this does not warn at a fixed size: the caller sets the limit."""
    known = False
    for name in _FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:16]) is not True:
            continue
        known = True
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # the plugin found that the file has another format
    raise ImageRejected("broken_image" if known else "unknown_format")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _from_16_bit(image).convert("RGB")
    if image.mode in ("I", "F", "LAB"):
        raise ImageRejected("unsupported_mode")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale gray samples of 12 or 16 bits to 8 bits; Pillow's `convert("L")` would clip them at 255."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    top = (1 << bits) - 1
    samples = np.asarray(image).astype(np.uint32)
    gray = ((samples * 255 + top // 2) // top).clip(max=255).astype(np.uint8)
    return Image.fromarray(255 - gray if tags.get(_PHOTOMETRIC) == 0 else gray)


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    try:
        turn = _TRANSPOSE.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the EXIF data is damaged, the pixels are decoded already
        turn = None
    return rgb if turn is None else rgb.transpose(turn)
