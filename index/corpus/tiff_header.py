"""The size of a TIFF image, and of the strips and tiles that its decoder holds (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import struct

from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected, ImageSize

__all__ = ["PREFIXES", "directory_is_bounded", "measure_tiff"]

PREFIXES = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # those that Pillow takes
_BIG = (b"II+\0", b"MM\0+")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # the types of tags that are read here
_BYTES = (1, 2, 6, 7)  # types of one byte, which Pillow does not turn into Python numbers
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_ORIENTATION, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 274, 277, 278, 322, 323, 338
_STRIPS, _TILES = 273, 324
_RAW, _JPEG = 1, (6, 7)
# Offsets and lengths of strips or tiles, which Pillow keeps as Python numbers. An image of 80 megapixels in tiles of
# 64 x 64 has 20,000, one with a strip for each row of each color 30,000.
_MAX_NUMBERS = 200_000
_MAX_OVERLAP, _FREE_BYTES = 4, 1 << 20  # values in all, relative to the file and at least
_WORK = 6

_Tags = dict[int, tuple[int, int, bytes]]  # tag -> type, number of values, the values or their offset


def measure_tiff(data: bytes) -> ImageSize:
    """Read the first directory. Raises ImageRejected: "broken_image" or "too_much_metadata"."""
    try:
        order = "<" if data[:2] == b"II" else ">"
        big = data[:4] in _BIG
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        tags = _directory(data, at, order, big)
        if _has_too_much(tags, len(data), big):
            raise ImageRejected("too_much_metadata")
        return _measured(data, tags, order, big)
    except struct.error as error:
        raise ImageRejected("broken_image") from error


def _measured(data: bytes, tags: _Tags, order: str, big: bool) -> ImageSize:
    def number(tag: int, default: int) -> int:
        return _first(data, tags, tag, order, big, default)

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    bits, samples = number(_BITS, 1), number(_SAMPLES, 1)
    if _STRIPS not in tags and _TILES in tags:
        part = number(_TILE_WIDTH, 0) * number(_TILE_HEIGHT, 0)
        parts = -(-width // max(1, number(_TILE_WIDTH, 1))) * -(-height // max(1, number(_TILE_HEIGHT, 1)))
    else:
        part = width * min(height, number(_ROWS, height))
        parts = -(-height // max(1, number(_ROWS, height)))
    if parts > _MAX_NUMBERS:
        raise ImageRejected("too_much_metadata")
    pixels = width * height
    # Pillow keeps one gray or palette sample of 8 bits in 1 byte, of 16 in 2, and all else in 4.
    loaded = 4 if samples > 1 or bits > 16 else 2 if bits > 8 else 1
    is_rgb = loaded == 4 and samples == 3 and _EXTRA not in tags
    converted = 8 if number(_ORIENTATION, 1) != 1 else loaded if is_rgb else loaded + 4
    # Pillow has one strip or tile as libtiff decodes it; libjpeg has the coefficients of a progressive one besides.
    compression = number(_COMPRESSION, _RAW)
    sample_bytes = -(-bits * samples // 8) + (6 if compression in _JPEG else 0)
    buffer = 0 if compression == _RAW else part * max(4, sample_bytes)
    return ImageSize(width, height, max(pixels * converted, pixels * loaded + buffer), _WORK * max(pixels, part))


def directory_is_bounded(data: bytes) -> bool:
    """Whether EXIF data, which is a TIFF without an image, takes little more memory than it has bytes.

    Each of 65,535 tags may name the whole file as its value, and Pillow before version 13 copies them all.
    """
    data = data.removeprefix(b"Exif\0\0")
    try:
        order = "<" if data[:2] == b"II" else ">"
        big = data[:4] in _BIG
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        return not _has_too_much(_directory(data, at, order, big), len(data), big)
    except struct.error:
        return True  # cut off: Pillow stops there as well
    except ImageRejected:
        return False


def _directory(data: bytes, at: int, order: str, big: bool) -> _Tags:
    count_form, entry = ("Q", order + "HHQ8s") if big else ("H", order + "HHI4s")
    (count,) = struct.unpack_from(order + count_form, data, at)
    if count > MAX_METADATA_PARTS:
        raise ImageRejected("too_much_metadata")
    at += 8 if big else 2
    size = struct.calcsize(entry)
    tags: _Tags = {}
    for number in range(count):
        if at + (number + 1) * size > len(data):
            break  # Pillow takes the tags up to here
        tag, kind, values, place = struct.unpack_from(entry, data, at + number * size)
        tags.setdefault(tag, (kind, values, place))
    return tags


def _has_too_much(tags: _Tags, size: int, big: bool) -> bool:
    """Whether the values together are much longer than the file, because they overlap, or are too many numbers."""
    lengths = [_SIZES.get(kind, 0) * count for kind, count, _ in tags.values()]
    apart = sum(length for length in lengths if (8 if big else 4) < length <= size)
    numbers = sum(count for kind, count, _ in tags.values() if kind not in _BYTES)
    return apart > max(_MAX_OVERLAP * size, _FREE_BYTES) or numbers > _MAX_NUMBERS


def _first(data: bytes, tags: _Tags, tag: int, order: str, big: bool, default: int) -> int:
    """A tag's first value; for several samples that is the first one's."""
    if tag not in tags:
        return default
    kind, count, place = tags[tag]
    form = _NUMBERS.get(kind)
    if form is None or count < 1:
        return default
    size = struct.calcsize(order + form)
    if size * count <= len(place):
        return int(struct.unpack_from(order + form, place)[0])
    (at,) = struct.unpack(order + ("Q" if big else "I"), place)
    if at + size > len(data):
        raise ImageRejected("broken_image")
    return int(struct.unpack_from(order + form, data, at)[0])
