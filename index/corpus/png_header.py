"""The size of a PNG, and the chunks that Pillow would read and inflate (PNG specification, third edition)."""

from __future__ import annotations

import struct

from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected, ImageSize

__all__ = ["measure_png"]

_COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")
# Pillow inflates up to 1 MiB of each, and keeps texts of 64 MiB in all. ImageMagick writes ten of them at most.
_MAX_COMPRESSED = 64
_INFLATED = 1 << 20
_MEAN_CHUNK = 1 << 10  # bytes; libpng writes the pixels in chunks of 8 KiB
# Bytes of a pixel in Pillow, by color type: gray, RGB, palette, gray and alpha, RGBA. Gray of 16 bits has 2.
_BYTES = {0: 1, 2: 4, 3: 1, 4: 4, 6: 4}
_GRAY, _RGB = 0, 2
_WITH_ALPHA = (4, 6)


def measure_png(data: bytes) -> ImageSize:
    """Read the header and step from chunk to chunk. Raises ImageRejected: "broken_image" or "too_much_metadata"."""
    try:
        kind, width, height, depth, color, _, _, _ = struct.unpack_from(">4sIIBBBBB", data, 12)
    except struct.error as error:
        raise ImageRejected("broken_image") from error
    if kind != b"IHDR" or color not in _BYTES:
        raise ImageRejected("broken_image")
    kinds = _chunks(data)
    compressed = sum(kind in _COMPRESSED for kind in kinds)
    if compressed > _MAX_COMPRESSED or len(kinds) > MAX_METADATA_PARTS + len(data) // _MEAN_CHUNK:
        raise ImageRejected("too_much_metadata")
    pixels = width * height
    loaded = 2 if depth == 16 and color == _GRAY else _BYTES[color]
    alpha = color in _WITH_ALPHA or b"tRNS" in kinds
    converted = loaded + 4 if alpha or color != _RGB else loaded
    turned = 8 if b"eXIf" in kinds or compressed else 0  # a text may be EXIF or XMP, which say how to turn
    animated = 4 if b"acTL" in kinds else 0
    peak = pixels * (max(converted, turned) + animated) + compressed * _INFLATED
    return ImageSize(width, height, peak, (6 if loaded == 4 else 3) * pixels)


def _chunks(data: bytes) -> list[bytes]:
    """The kinds of the chunks."""
    kinds: list[bytes] = []
    at, most = 8, MAX_METADATA_PARTS + len(data) // _MEAN_CHUNK
    unpack = struct.Struct(">I4s").unpack_from
    while at + 8 <= len(data) and len(kinds) <= most:
        length, kind = unpack(data, at)
        kinds.append(kind)
        at += 12 + length
    return kinds
