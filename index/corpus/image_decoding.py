"""Decoding images: encoded bytes become an upright 8-bit RGB image, or are rejected with a reason.

Only raster formats are opened, recognised by their content and never by the file's name, so no image can start a
PostScript interpreter or fetch anything. What decoding takes is measured and bounded before Pillow sees the file (see
`index.corpus.image_size`). HEIC and JPEG XL are read where Pillow's plug-ins for them are installed (pillow-heif,
pillow-jxl-plugin).
"""

from __future__ import annotations

import functools
import importlib
import io
import struct
import warnings
from collections.abc import Callable

import numpy as np
from PIL import AvifImagePlugin as _AvifImagePlugin  # noqa: F401  importing registers the format
from PIL import BmpImagePlugin as _BmpImagePlugin  # noqa: F401
from PIL import GifImagePlugin as _GifImagePlugin  # noqa: F401
from PIL import IcoImagePlugin, Image
from PIL import JpegImagePlugin as _JpegImagePlugin  # noqa: F401
from PIL import PngImagePlugin as _PngImagePlugin  # noqa: F401
from PIL import PpmImagePlugin as _PpmImagePlugin  # noqa: F401
from PIL import TiffImagePlugin as _TiffImagePlugin  # noqa: F401
from PIL import WebPImagePlugin as _WebPImagePlugin  # noqa: F401

from index.corpus.image_formats import NETPBM, image_extension
from index.corpus.image_limits import (
    DECODE_REASONS,
    MAX_ASPECT_RATIO,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PIXELS,
    ImageRejected,
)
from index.corpus.image_size import largest_in_icon, measure_image
from index.corpus.tiff_header import directory_is_bounded

__all__ = [
    "DECODE_REASONS",
    "MAX_ASPECT_RATIO",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "ImageRejected",
    "decode_image",
    "decode_thumbnail",
    "image_extension",
]

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG's factory covers cameras' MPO too
# Formats of plug-ins by the extension of `image_extension`: Pillow's name, the module, what registers it, the reason.
_PLUGINS = {
    "heic": ("HEIF", "pillow_heif", "register_heif_opener", "needs_pillow_heif"),
    "jxl": ("JXL", "pillow_jxl", None, "needs_pillow_jxl_plugin"),
}
_BAND = 64  # rows that are converted at once
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


def decode_image(data: bytes, max_bytes: int = MAX_IMAGE_BYTES, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Decode to an upright 8-bit RGB image; ImageRejected otherwise, as `measure_image` raises it or for damaged data.

    Of an animation the first frame is taken. EXIF rotation is applied, transparent images are put on white, 16-bit
    samples are scaled (65535 -> 255), and CMYK JPEGs are read as inverted, as Adobe and all browsers read them.
    """
    return _decode(data, max_bytes, max_pixels, None)


def decode_thumbnail(
    data: bytes, side: int, max_bytes: int = MAX_IMAGE_BYTES, max_pixels: int = MAX_IMAGE_PIXELS
) -> Image.Image:
    """As `decode_image`, scaled down so that the longer side has at most `side` pixels.

    JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where that is enough, which takes less time and memory and gives
    slightly other pixels.
    """
    image = _decode(data, max_bytes, max_pixels, side)
    image.thumbnail((side, side))
    return image


def _decode(data: bytes, max_bytes: int, max_pixels: int, side: int | None) -> Image.Image:
    extension = image_extension(data)
    if extension in _PLUGINS and len(data) <= max_bytes:
        _plugin(extension)  # that it is missing says more than what is wrong with the file
    measure_image(data, max_bytes, max_pixels, side)
    try:
        image = _open(data)
        if side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * side, 2 * side))  # twice the size, as `Image.thumbnail` does, for its smooth edges
        if image.width * image.height > max_pixels:  # Pillow has read another size than `measure_image`
            raise ImageRejected("too_many_pixels")
        image.load()
        turn = _turn(image)
        rgb = _to_rgb(image)
        del image  # its memory serves for the turned image
        return rgb if turn is None else rgb.transpose(turn)
    except (ImageRejected, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected("too_many_pixels") from error
    except Exception as error:  # a codec may raise any exception for a damaged file
        raise ImageRejected("broken_image") from error


def _open(data: bytes) -> Image.Image:
    """Read the header. Unlike Image.open this does not warn at a fixed size: the caller sets the limit."""
    extension = image_extension(data)
    if extension == "ico":
        return _open_icon(data)
    known = False
    formats: tuple[str, ...] = _FORMATS
    if extension in _PLUGINS:
        formats = (_plugin(extension),)
    elif extension in NETPBM.values():
        formats = ("PPM",)
    for name in formats:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:16]) is not True:
            continue
        known = True
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # the plugin found that the file has another format
    raise ImageRejected("broken_image" if known else "unknown_format")


@functools.cache
def _plugin(extension: str) -> str:
    """Pillow's name of a plug-in's format, which is registered; ImageRejected where the plug-in is not installed."""
    name, module, register, reason = _PLUGINS[extension]
    try:
        plugin = importlib.import_module(module)
    except ImportError as error:
        raise ImageRejected(reason) from error
    if register is not None:
        getattr(plugin, register)()
    return name


def _open_icon(data: bytes) -> Image.Image:
    inside = largest_in_icon(data)
    return _open(inside) if image_extension(inside) == "png" else IcoImagePlugin.IcoImageFile(io.BytesIO(data), "")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _in_bands(image, _gray_of_16_bits(image))
    if image.mode in ("I", "F", "LAB"):
        raise ImageRejected("unsupported_mode")
    if image.has_transparency_data:
        return _in_bands(image, _on_white)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """An RGB image, converted a band of rows at a time, so that the copies in between are small."""
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND):
        band = (0, top, image.width, min(top + _BAND, image.height))
        rgb.paste(convert(image.crop(band)), band)
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _gray_of_16_bits(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Scales gray samples of 12 or 16 bits to 8 bits; Pillow's `convert("L")` would clip them at 255."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    top = (1 << bits) - 1
    samples = np.arange(1 << 16, dtype=np.uint32)
    grays = ((samples * 255 + top // 2) // top).clip(max=255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        grays = 255 - grays
    return lambda band: Image.fromarray(grays[np.asarray(band)]).convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How EXIF says the image must be turned. Damaged or hostile EXIF data costs the turn only."""
    try:
        exif = image.info.get("exif")
        if exif is None and "Raw profile type exif" in image.info:  # a text of PNG, written by ImageMagick
            exif = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
        if exif is not None and not directory_is_bounded(exif):
            return None
        return _TRANSPOSE.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the pixels are decoded already
        return None
