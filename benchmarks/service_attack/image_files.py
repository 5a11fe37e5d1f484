"""Image files that are small to send and dear to decode, made in a second or two and without a network."""

from __future__ import annotations

import io
import struct
import zlib

__all__ = ["SIDE", "jpeg_of_scans", "palette_png", "pillow_file", "png", "tiny_avif_of"]

SIDE = 9_400  # pixels: 88.4 megapixels, just under the service's limit of 89.5


def png(side: int, depth: int = 1, colour: int = 0, more: bytes = b"") -> bytes:
    """A square PNG of one colour. depth, colour: as in its header (PNG 1.2, 11.2.2); more: chunks before the data."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" * (1 + (side * depth * channels + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + more + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def palette_png(side: int) -> bytes:
    """A PNG of one bit a pixel whose palette is transparent: laid on white, it takes four times 4 bytes a pixel."""
    return png(side, 1, 3, _chunk(b"PLTE", b"\xff\0\0\0\xff\0") + _chunk(b"tRNS", b"\x80\x40"))


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A gray progressive JPEG (ITU T.81, annex G): one scan of DC coefficients, then `scans` of AC, 200 bytes each.

    Its AC scans hold nothing but runs of 16,384 blocks without coefficients, and a decoder walks all blocks for each.
    """
    blocks = ((side + 7) // 8) ** 2
    frame = b"\xff\xc2" + struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    quantisation = b"\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    one_code = b"\1" + b"\0" * 15  # a Huffman table with a single code, the bit 0
    tables = b"\xff\xc4" + struct.pack(">HB", 20, 0x00) + one_code + b"\x00"  # DC: no difference
    tables += b"\xff\xc4" + struct.pack(">HB", 20, 0x10) + one_code + b"\xe0"  # AC: EOB14, 14 further bits
    first = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0x00, 0, 0, 0) + b"\0" * ((blocks + 7) // 8)
    runs = -(-blocks // 16_384)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0x00, 1, 63, 0) + b"\0" * ((runs * 15 + 7) // 8)
    return b"\xff\xd8" + quantisation + frame + tables + first + scan * scans + b"\xff\xd9"


def pillow_file(form: str, side: int, mode: str = "L", **options: object) -> bytes:
    """A flat square image as Pillow writes it."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, form, **options)
    return stream.getvalue()


def tiny_avif_of(side: int) -> bytes:
    """An AVIF of 64 x 64 pixels that says that it has side x side ones."""
    data = pillow_file("AVIF", 64, "RGB", speed=10)
    return data.replace(b"ispe\0\0\0\0" + struct.pack(">II", 64, 64), b"ispe\0\0\0\0" + struct.pack(">II", side, side))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
