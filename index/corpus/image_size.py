"""What decoding an image file will take, from its header: the size in pixels, memory and work, without decoding it.

    size = measure_image(data, max_bytes, max_pixels)  # raises ImageRejected before anything is paid for
    size.peak_bytes, size.work

A file of a kilobyte can hold an image of gigabytes, a progressive JPEG can go over its pixels a thousand times, and
metadata can be made of millions of parts. Reads the bytes themselves, as Pillow decodes or allocates some formats when
it opens them. Loads no decoder, so that a process that only admits requests can call it. The figures of memory and time
were measured with Pillow 13.0, libjpeg-turbo 3.2, libwebp 1.6, libavif 1.4 on images of 12 to 89 megapixels.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from index.corpus.heif_header import measure_avif, measure_heic
from index.corpus.image_formats import image_extension
from index.corpus.image_limits import (
    MAX_ASPECT_RATIO,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PIXELS,
    MAX_METADATA_PARTS,
    MAX_WORK_PER_PIXEL,
    ImageRejected,
    ImageSize,
)
from index.corpus.jpeg_header import measure_jpeg
from index.corpus.jxl_header import measure_jxl
from index.corpus.png_header import measure_png
from index.corpus.tiff_header import PREFIXES, measure_tiff

__all__ = ["ImageSize", "largest_in_icon", "measure_image"]

_WEBP_KINDS = (b"VP8 ", b"VP8L", b"VP8X")
_ICON_SIDE = 256  # a Windows icon's directory gives sides in one byte, 0 for 256
_MAX_ICONS = 1_000
_MAX_NETPBM_HEADER = 1 << 12  # Pillow reads it byte by byte; a comment in it is a line, such as GIMP's
_RLE = (1, 2)  # BMP's compressions; 0, 3 and 6 are plain samples


def measure_image(
    data: bytes, max_bytes: int = MAX_IMAGE_BYTES, max_pixels: int = MAX_IMAGE_PIXELS, side: int | None = None
) -> ImageSize:
    """The size of an image file and what decoding it takes, from its header.

    side: of a thumbnail, in pixels, for what `decode_thumbnail` takes: less memory where the image is scalable, and
        `max_pixels` is then compared with the pixels that are decoded.

    Raises ImageRejected, also for an image of too much work: more than that of MAX_WORK_PER_PIXEL sequential JPEGs of
    `max_pixels`. A file that is measured may still be damaged further on.
    """
    if not data:
        raise ImageRejected("empty_image")
    if len(data) > max_bytes:
        raise ImageRejected("too_many_bytes")
    try:
        size = _measure(data)
    except (struct.error, IndexError) as error:
        raise ImageRejected("broken_image") from error
    decoded = 1.0
    if side is not None and size.scalable:
        scale = min(size.width, size.height) // (2 * side)  # as Pillow's draft: twice the thumbnail's size at least
        decoded = 1 / next((factor for factor in (8, 4, 2) if scale >= factor), 1) ** 2
        size = replace(size, peak_bytes=int(size.peak_bytes * decoded))
    if size.pixels * decoded > max_pixels:
        raise ImageRejected("too_many_pixels")
    if size.width <= 0 or size.height <= 0:
        raise ImageRejected("broken_image")
    if max(size.width, size.height) > MAX_ASPECT_RATIO * min(size.width, size.height):
        raise ImageRejected("too_elongated")
    if size.work > MAX_WORK_PER_PIXEL * max_pixels:
        raise ImageRejected("too_much_work")
    return size


def _measure(data: bytes) -> ImageSize:
    extension = image_extension(data)
    if extension is None and data[:4] in PREFIXES:
        extension = "tif"
    measure = _MEASURES.get(extension or "")
    if measure is None:
        raise ImageRejected("unknown_format")
    return measure(data)


def _measure_gif(data: bytes) -> ImageSize:
    """The canvas, which grows with a first frame that does not fit into it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + ((2 << (flags & 7)) * 3 if flags & 128 else 0)
    alpha = False
    parts = 0
    while data[at] == 0x21:  # an extension: its kind, then blocks with their lengths until an empty one
        alpha = alpha or (data[at + 1] == 0xF9 and bool(data[at + 3] & 1))
        at += 2
        while data[at]:
            at, parts = at + 1 + data[at], parts + 1
            if parts > MAX_METADATA_PARTS:
                raise ImageRejected("too_much_metadata")
        at, parts = at + 1, parts + 1
    if data[at] != 0x2C:
        raise ImageRejected("broken_image")
    left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
    width, height = max(width, left + across), max(height, top + down)
    return ImageSize(width, height, 6 * width * height, (3 if alpha else 1) * width * height)


def _measure_bmp(data: bytes, at: int = 14) -> ImageSize:
    (header,) = struct.unpack_from("<I", data, at)
    compression = 0
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, at + 4)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, at + 4)
    pixels = width * abs(height)
    # Pillow expands run lengths in Python: up to 100 ns a pixel (an early end of a line), and 300 ns for two bytes.
    work = 15 * pixels + 25 * len(data) if compression in _RLE else pixels
    return ImageSize(width, abs(height), (8 if bits in (16, 32) else 7) * pixels, work)


def _measure_webp(data: bytes) -> ImageSize:
    kind = data[12:16]
    if kind not in _WEBP_KINDS:
        raise ImageRejected("unknown_format")
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    pixels = width * height
    # libwebp's decoder of animations, which Pillow uses for all, has two canvases of RGBA and a copy of the file.
    return ImageSize(width, height, (20 if kind == b"VP8X" else 17) * pixels + 2 * len(data), 5 * pixels)


def _measure_netpbm(data: bytes) -> ImageSize:
    """Binary forms only: P4 has 1-bit, P5 gray and P6 color samples."""
    kind = data[:2]
    head = data[2:_MAX_NETPBM_HEADER]
    lines = (line.split(b"#", 1)[0] for line in head.replace(b"\r", b"\n").split(b"\n"))
    numbers = b" ".join(lines).split()[: 2 if kind == b"P4" else 3]
    if len(numbers) < (2 if kind == b"P4" else 3):
        raise ImageRejected("too_much_metadata" if len(data) > _MAX_NETPBM_HEADER else "broken_image")
    try:
        width, height, highest = (int(number) for number in (*numbers, b"255")[:3])
    except ValueError as error:
        raise ImageRejected("broken_image") from error
    samples = width * height * (3 if kind == b"P6" else 1)
    # Pillow scales samples of another maximum in Python, one by one: 0.4 microseconds each.
    plain = highest == 255 or (kind == b"P5" and highest == 65535)
    return ImageSize(width, height, 8 * samples if plain else 16 * samples, samples if plain else 60 * samples)


def _measure_icon(data: bytes) -> ImageSize:
    """The largest picture of a Windows icon: a PNG, or a bitmap whose own header must agree with the icon's limits."""
    inside = largest_in_icon(data)
    if image_extension(inside) == "png":
        return measure_png(inside)
    header, width, height, _, _, compression = struct.unpack_from("<IiiHHI", inside)
    if not (0 < width <= _ICON_SIDE and 0 < height <= 2 * _ICON_SIDE):  # a bitmap's mask counts as height
        raise ImageRejected("broken_image")
    if header < 40 or compression in _RLE:
        raise ImageRejected("broken_image")
    return ImageSize(width, height // 2, 16 * width * height, width * height)


def largest_in_icon(data: bytes) -> bytes:
    """The file of the largest picture in a Windows icon, of several the one that Pillow takes. Raises ImageRejected."""
    (count,) = struct.unpack_from("<H", data, 4)
    if not 0 < count <= _MAX_ICONS:
        raise ImageRejected("too_much_metadata" if count else "broken_image")

    def order(entry: tuple[int, ...]) -> tuple[int, int]:
        width, height, colors, _, _, depth, _, _ = entry
        return -(width or _ICON_SIDE) * (height or _ICON_SIDE), depth or (colors - 1).bit_length() * bool(colors) or 256

    entries = [struct.unpack_from("<BBBBHHII", data, 6 + 16 * number) for number in range(count)]
    size, at = min(entries, key=order)[6:]
    return data[at : at + size]


_MEASURES = {
    "jpg": measure_jpeg, "png": measure_png, "gif": _measure_gif, "bmp": _measure_bmp, "tif": measure_tiff,
    "webp": _measure_webp, "avif": measure_avif, "heic": measure_heic, "jxl": measure_jxl, "ico": _measure_icon,
    "pbm": _measure_netpbm, "pgm": _measure_netpbm, "ppm": _measure_netpbm,
}  # fmt: skip
