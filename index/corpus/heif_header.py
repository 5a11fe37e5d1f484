"""The size of an AVIF or HEIC image: the boxes of ISO/IEC 23008-12 (HEIF), and what the coded images say themselves.

The box `ispe` says how large an image is, but the coded image inside may be larger, or hold frames that are decoded and
never shown. Decoders find out when they have decoded it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from index.corpus.av1_header import av1_frames
from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected, ImageSize

__all__ = ["measure_avif", "measure_heic"]

# Boxes that hold other boxes, and the bytes of their own before those.
_HOLDERS = {
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"iref": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0,
    b"stsd": 8,
}  # fmt: skip
_MAX_DEPTH = 8  # moov, trak, mdia, minf, stbl, stsd is the deepest
# Of one coded image. A still has one frame, a layered ("progressive") AVIF four at most (AV1 specification, 6.4.1).
_MAX_FRAMES = 8
# Measured, in bytes a pixel: AVIF 9 (4:2:0) to 14 (4:4:4 with alpha), HEIC 8. With more than 8 bits the planes are
# twice as large, and film grain makes another copy.
_AVIF_BYTES, _AVIF_DEEP_BYTES, _HEIC_BYTES = 14, 26, 14
_WORK = 6
_CANVASES = {b"grid": 4, b"iovl": 10}  # items that are put together: where their data has the size, after flags
_VIDEO_SLICES = 32  # HEVC's NAL units below this type are parts of pictures (ITU-T H.265, table 7-1)

_Place = tuple[bool, int, int]  # whether in the box `idat`, offset, length


@dataclass
class _Found:
    """What the boxes say.

    Attributes:
        sizes: widths and heights of images and of tracks.
        kinds: item -> its type, such as av01, hvc1, grid or iovl.
        places: item -> the parts of its data.
        inputs: item -> how many images it is derived from.
        samples: offset and length of each track's first image.
        idat: where the content of that box begins.
        deep: whether an image has more than 8 bits.
        length_bytes: of the lengths in front of HEVC's NAL units.
        parts: how many boxes and so on have been seen.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    kinds: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, list[_Place]] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    samples: list[tuple[int, int]] = field(default_factory=list)
    idat: int = 0
    deep: bool = False
    length_bytes: set[int] = field(default_factory=set)
    parts: int = 0

    def count(self) -> None:
        """One more part. Raises ImageRejected beyond MAX_METADATA_PARTS."""
        self.parts += 1
        if self.parts > MAX_METADATA_PARTS:
            raise ImageRejected("too_much_metadata")


def measure_avif(data: bytes) -> ImageSize:
    """Read the boxes and the headers of the coded images.

    Raises ImageRejected: "too_much_work" for hidden frames, "too_much_metadata" or "broken_image".
    """
    found = _read(data)
    coded = [av1_frames(each) for each in _coded_images(data, found, b"av01")]
    bytes_per_pixel = _AVIF_DEEP_BYTES if found.deep else _AVIF_BYTES
    return _measured(found, [size for size, _ in coded], [frames for _, frames in coded], bytes_per_pixel)


def measure_heic(data: bytes) -> ImageSize:
    """As `measure_avif`. The coded images' sizes are not read: libheif rejects those that differ from `ispe`."""
    found = _read(data)
    frames = [
        _hevc_pictures(each, length, found)
        for each in _coded_images(data, found, b"hvc1")
        for length in found.length_bytes or {4}
    ]
    return _measured(found, [], frames, _HEIC_BYTES)


def _read(data: bytes) -> _Found:
    found = _Found()
    try:
        _walk(data, 0, len(data), found)
        for kind, before in _CANVASES.items():
            for each in _coded_images(data, found, kind):
                form = ">II" if each[1] & 1 else ">HH"
                found.sizes.append(struct.unpack_from(form, each, before))
    except (struct.error, IndexError) as error:
        raise ImageRejected("broken_image") from error
    return found


def _measured(found: _Found, coded: list[tuple[int, int]], frames: list[int], bytes_per_pixel: int) -> ImageSize:
    if not found.sizes:
        raise ImageRejected("broken_image")
    times = max(frames, default=1)
    # An overlay draws its images one after the other, and may name one image any number of times.
    overlays = [count for item, count in found.inputs.items() if found.kinds.get(item) == b"iovl"]
    if times > _MAX_FRAMES:
        raise ImageRejected("too_much_work")
    width, height = max(found.sizes, key=_area)
    largest = max(coded, key=_area, default=(0, 0))
    if _area(largest) > 2 * width * height:  # decoders pad to whole blocks; twice as much is no padding
        width, height = largest
    pixels = max(width * height, _area(largest))
    work = _WORK * pixels * max(1, times) * max([1, *overlays])
    return ImageSize(width, height, bytes_per_pixel * pixels, work)


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _walk(data: bytes, at: int, end: int, found: _Found, depth: int = 0) -> None:
    chunk, sample = None, 0
    for kind, inside, after in _boxes(data, at, end, found):
        if kind == b"ispe":
            found.sizes.append(struct.unpack_from(">II", data, inside + 4))
        elif kind in (b"av01", b"hvc1", b"hev1"):  # a track's sample entry
            found.sizes.append(struct.unpack_from(">HH", data, inside + 24))
        elif kind == b"av1C":
            found.deep = found.deep or bool(data[inside + 2] & 0x40)  # high_bitdepth
        elif kind == b"hvcC":
            found.length_bytes.add((data[inside + 21] & 3) + 1)
        elif kind == b"idat":
            found.idat = inside
        elif kind == b"iinf":
            _walk(data, inside + (6 if data[inside] == 0 else 8), after, found, depth + 1)
        elif kind == b"infe":
            _add_kind(data, inside, found)
        elif kind == b"iloc":
            _add_places(data, inside, found)
        elif kind == b"dimg":  # in iref, whose version says how wide the numbers of items are
            wide = 4 if data[at - 4] else 2
            item, count = _number(data, inside, wide), _number(data, inside + wide, 2)
            found.inputs[item] = max(count, found.inputs.get(item, 0))
        elif kind in (b"stco", b"co64"):
            (chunk,) = struct.unpack_from(">I" if kind == b"stco" else ">Q", data, inside + 8)
        elif kind == b"stsz":
            same, count = struct.unpack_from(">II", data, inside + 4)
            sample = same or (_number(data, inside + 12, 4) if count else 0)
        elif kind in _HOLDERS and depth < _MAX_DEPTH:
            _walk(data, inside + _HOLDERS[kind], after, found, depth + 1)
    if chunk is not None:
        found.samples.append((chunk, sample))


def _boxes(data: bytes, at: int, end: int, found: _Found) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each box's content."""
    while at + 8 <= end:
        found.count()
        size, kind = struct.unpack_from(">I4s", data, at)
        inside = at + 8
        if size == 1:  # the size is in the next 8 bytes
            (size,) = struct.unpack_from(">Q", data, inside)
            inside += 8
        after = at + size if size else end
        if after < inside:
            return
        yield kind, inside, min(after, end)
        at = after


def _add_kind(data: bytes, at: int, found: _Found) -> None:
    version = data[at]
    if version >= 2:
        wide = 4 if version > 2 else 2
        found.kinds[_number(data, at + 4, wide)] = data[at + 6 + wide : at + 10 + wide]


def _add_places(data: bytes, at: int, found: _Found) -> None:
    """Add where each item's data is (ISO/IEC 14496-12, 8.11.3)."""
    version = data[at]
    sizes = _number(data, at + 4, 2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    has_method = version in (1, 2)
    count, at = _number(data, at + 6, wide), at + 6 + wide
    for _ in range(count):
        found.count()
        item, at = _number(data, at, wide), at + wide
        in_idat = has_method and _number(data, at, 2) & 15 == 1
        at += 4 if has_method else 2
        base, extents = _number(data, at, of_base), _number(data, at + of_base, 2)
        at += of_base + 2
        for _ in range(extents):
            found.count()
            at += of_index if has_method else 0
            offset, length = _number(data, at, of_offset), _number(data, at + of_offset, of_length)
            at += of_offset + of_length
            found.places.setdefault(item, []).append((in_idat, base + offset, length or len(data)))


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ImageRejected("broken_image")
    return int.from_bytes(data[at : at + size], "big")


def _coded_images(data: bytes, found: _Found, kind: bytes) -> Iterator[memoryview]:
    """The data of each item of a kind and, of a codec's kind, of each track's first image."""
    view = memoryview(data)
    for at, length in found.samples if kind not in _CANVASES else ():
        yield view[at : at + length]
    for item, places in found.places.items():
        if found.kinds.get(item) != kind:
            continue
        begins = [at + (found.idat if in_idat else 0) for in_idat, at, _ in places]
        parts = [view[at : at + length] for at, (_, _, length) in zip(begins, places, strict=True)]
        if sum(map(len, parts)) > len(data):
            raise ImageRejected("too_much_metadata")
        yield parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _hevc_pictures(data: memoryview, length_bytes: int, found: _Found) -> int:
    """How many pictures an item has: first slices among its NAL units (ITU-T H.265, 7.3.1.2 and 7.3.6.1)."""
    pictures = at = 0
    while at + length_bytes + 3 <= len(data):
        found.count()
        length = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        pictures += (data[at] >> 1 & 63) < _VIDEO_SLICES and data[at + 2] >= 128
        at += length
    return pictures
