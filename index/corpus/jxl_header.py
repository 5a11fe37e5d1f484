"""The size of a JPEG XL image, whose plug-in decodes it when it is opened (ISO/IEC 18181-1 and -2).

Layers and reference frames, which stand far behind in the file, are not measured: what they take has no bound here.
"""

from __future__ import annotations

from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected, ImageSize

__all__ = ["measure_jxl"]

_CODESTREAM = b"\xff\x0a"
_NEEDED = 32  # bytes of the codestream that hold the size
_SIZE_BITS = (9, 13, 18, 30)  # Table A.1 (SizeHeader): the lengths that 2 bits select
# Width : height, Table A.2; 0 says that the width follows.
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# Measured: 7 bytes a pixel for photographs, 20 for lossless RGBA; 26 to 47 ns. A file of many layers takes more.
_BYTES_PER_PIXEL, _WORK_PER_PIXEL = 24, 7


def measure_jxl(data: bytes) -> ImageSize:
    """Read the SizeHeader. Raises ImageRejected: "broken_image" or "too_much_metadata"."""
    start = data[:_NEEDED] if data.startswith(_CODESTREAM) else _from_container(data)
    if len(start) < 3 or not start.startswith(_CODESTREAM):
        raise ImageRejected("broken_image")
    bits = _Bits(start[2:])
    small = bits.take(1)
    height = _side(bits, small)
    over, under = _RATIOS[bits.take(3)]
    width = height * over // under if over else _side(bits, small)
    pixels = width * height
    return ImageSize(width, height, _BYTES_PER_PIXEL * pixels, _WORK_PER_PIXEL * pixels)


def _side(bits: _Bits, small: int) -> int:
    return (bits.take(5) + 1) * 8 if small else bits.take(_SIZE_BITS[bits.take(2)]) + 1


class _Bits:
    """Numbers of any count of bits, the least significant first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _from_container(data: bytes) -> bytes:
    """The codestream's first bytes: the box `jxlc`, or the boxes `jxlp` one after the other."""
    found, at = b"", 0
    for _ in range(MAX_METADATA_PARTS):
        if len(found) >= _NEEDED or at + 8 > len(data):
            return found[:_NEEDED]
        size, kind, inside = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:  # the size is in the next 8 bytes
            size, inside = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else len(data)
        if end < inside:
            raise ImageRejected("broken_image")
        if kind == b"jxlc":
            return data[inside:end][:_NEEDED]
        if kind == b"jxlp":
            found += data[inside + 4 : min(end, inside + 4 + _NEEDED)]  # after the part's number
        at = end
    raise ImageRejected("too_much_metadata")
