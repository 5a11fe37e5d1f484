"""Decoding images: encoded bytes become an upright 8-bit RGB image, or are rejected with a reason.

Only raster formats are opened, recognised by their content and never by the file's name, so no image can start a
PostScript interpreter or fetch anything. The size is read from the header before any pixel is decoded. HEIC and JPEG XL
are read where Pillow's plug-ins for them are installed (pillow-heif, pillow-jxl-plugin).
"""

from __future__ import annotations

import functools
import importlib
import io
import struct
import warnings

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
        "unknown_format",  # not a raster format that is read: text, HTML, SVG, PostScript, ...
        "needs_pillow_heif",  # a HEIC or HEIF image; the package pillow-heif is not installed
        "needs_pillow_jxl_plugin",  # a JPEG XL image; the package pillow-jxl-plugin is not installed
        "unsupported_mode",  # 32-bit integers, floats and CIE Lab: their conversion to 8-bit RGB is ambiguous
        "broken_image",  # the format is known, the data is damaged or truncated
        "decoder_crashed",  # the codec ended two processes of `index.corpus.decoders` (SIGSEGV, SIGABRT, ...)
    }
)

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG's factory covers cameras' MPO too
# Formats of plug-ins by the extension of `image_extension`: Pillow's name, the module, what registers it, the reason.
_PLUGINS = {
    "heic": ("HEIF", "pillow_heif", "register_heif_opener", "needs_pillow_heif"),
    "jxl": ("JXL", "pillow_jxl", None, "needs_pillow_jxl_plugin"),
}
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"\0\0\1\0", "ico"),
    (b"\xff\x0a", "jxl"),  # ISO/IEC 18181-2: a bare codestream, and a container
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
)
# Netpbm: the binary forms only, as reading millions of numbers from text takes minutes.
_NETPBM = {b"P4": "pbm", b"P5": "pgm", b"P6": "ppm"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")  # ISO/IEC 23008-12
_ICON_SIDE = 256  # a Windows icon's directory gives sides in one byte, 0 for 256
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
    """The file extension that fits an image file's first bytes; None where `decode_image` has no format for it.

    One of jpg, png, gif, bmp, tif, webp, avif, pbm, pgm, ppm, ico, and, for formats that need a plug-in, heic and jxl.
    Looks at the first 32 bytes only, so the file may still be damaged further on.
    """
    for start, extension in _SIGNATURES:
        if data.startswith(start):
            return extension
    if data[:2] in _NETPBM and data[2:3].isspace():
        return _NETPBM[data[:2]]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    # AVIF 1.1, sections 5 and 6: the brand of a still image or of a sequence, as the major or a compatible one.
    if data[4:8] != b"ftyp":
        return None
    if b"avif" in data[8:32] or b"avis" in data[8:32]:
        return "avif"
    return "heic" if any(brand in data[8:32] for brand in _HEIF_BRANDS) else None


def _open(data: bytes) -> Image.Image:
    """Read the header. Unlike Image.open this does not warn at a fixed size: the caller sets the limit."""
    extension = image_extension(data)
    if extension == "ico":
        return _open_icon(data)
    known = False
    formats: tuple[str, ...] = _FORMATS
    if extension in _PLUGINS:
        formats = (_plugin(extension),)
    elif extension in _NETPBM.values():
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
    """The largest picture of a Windows icon: a PNG, or a bitmap whose own header must agree with the icon's limits."""
    icon = IcoImagePlugin.IcoFile(io.BytesIO(data)).entry[0]  # sorted, the largest first
    inside = data[icon.offset : icon.offset + icon.size]
    if image_extension(inside) == "png":
        return _open(inside)
    width, height = struct.unpack_from("<ii", inside, 4)
    if not (0 < width <= _ICON_SIDE and 0 < height <= 2 * _ICON_SIDE):  # a bitmap's mask counts as height
        raise ImageRejected("broken_image")
    return IcoImagePlugin.IcoImageFile(io.BytesIO(data), "")


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
