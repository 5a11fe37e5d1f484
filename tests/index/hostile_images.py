"""Image files that are small and would be expensive to decode, and the parts that they are made of."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from PIL import Image

from tests.index.corpora import encode

__all__ = ["bmp", "box", "jpeg_of_scans", "png", "png_chunk", "tiff"]

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG's color types


def jpeg_of_scans(scans: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan, a refinement without data, is repeated."""
    whole = encode(Image.new("L", size, 100), "JPEG", progressive=True)
    before = whole.count(b"\xff\xda")
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * (scans - before) + whole[-2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int = 8, color: int = 2, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of zeros, with `extra` chunks before the pixels; an interlaced one has the pixels of a plain one only."""
    width, height = size
    pixels = bytes(height * (1 + -(-width * depth * _CHANNELS[color] // 8)))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def tiff(tags: Iterable[tuple[int, int, list[int]]], data: bytes = b"", at: int = 4_096) -> bytes:
    """A little-endian TIFF of (tag, type, values), type 3 or 4 for 2 or 4 bytes, with `data` at an offset."""
    entries = sorted(tags)
    inside, after = struct.pack("<H", len(entries)), b""
    begin = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{'HI'[kind - 3]}", *values)
        inside += struct.pack("<HHI", tag, kind, len(values))
        if len(packed) <= 4:
            inside += packed.ljust(4, b"\0")
        else:
            inside += struct.pack("<I", begin + len(after))
            after += packed
    return (b"II*\0" + struct.pack("<I", 8) + inside + bytes(4) + after).ljust(at, b"\0") + data


def bmp(size: tuple[int, int], compression: int, data: bytes) -> bytes:
    """An 8-bit bitmap of black and gray with 256 colors; compression 1 is run lengths."""
    head = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, compression, len(data), 0, 0, 256, 0)
    colors = bytes(4 * 256)
    begin = 14 + len(head) + len(colors)
    return b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) + head + colors + data


def box(kind: bytes, content: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    return struct.pack(">I4s", 8 + len(content), kind) + content
