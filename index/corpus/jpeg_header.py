"""The size of a JPEG, and how often its decoder goes over the pixels (ISO/IEC 10918-1)."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from index.corpus.image_limits import MAX_METADATA_PARTS, MAX_SCANS, ImageRejected, ImageSize
from index.corpus.tiff_header import directory_is_bounded

__all__ = ["measure_jpeg"]

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-SOF15; the others are DHT, JPG and DAC
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_ARITHMETIC = range(0xC9, 0xD0)
_ALONE = (0x01, *range(0xD0, 0xD9))  # TEM, RST0-RST7 and SOI have no length
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_EXIF = b"Exif\0\0"
_MAX_EXIF_SEGMENTS = 16  # the standard has one; Pillow joins them, each time with a copy of those before
_MAX_JUNK = 1 << 16  # bytes between segments, which Pillow reads one by one
# In entropy-coded data 0xFF is followed by 0, or by a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class _Frame(NamedTuple):
    """A frame header: its marker, size, and each component's horizontal and vertical sampling factor."""

    marker: int
    width: int
    height: int
    sampling: list[tuple[int, int]]

    @property
    def samples(self) -> int:
        """Samples of all components, in whole blocks of 8 x 8."""
        across = max(horizontal for horizontal, _ in self.sampling)
        down = max(vertical for _, vertical in self.sampling)
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return 64 * units * sum(horizontal * vertical for horizontal, vertical in self.sampling)


def measure_jpeg(data: bytes) -> ImageSize:
    """Read the segments before the first scan and, only where there may be several scans, find the others.

    Raises ImageRejected: "too_many_scans", "too_much_metadata" or "broken_image".
    """
    frame, at, turned = _frame_header(data)
    channels = len(frame.sampling)
    several = frame.marker in _PROGRESSIVE or data[at + 2] < channels
    scans = _scans(data, at) if several else 1
    pixels = frame.width * frame.height
    # Pillow keeps gray in 1 byte and the rest in 4. A frame of several scans keeps the coefficients, 2 bytes each.
    loaded = 1 if channels == 1 else 4
    converted = loaded if channels == 3 else loaded + 4
    peak = pixels * max(converted, 8 if turned else 0)
    if several:
        peak = max(peak, pixels * loaded + 2 * frame.samples)
    work = pixels + (frame.samples * scans // 8 if several else 0)
    work *= 4 if frame.marker in _ARITHMETIC else 1
    return ImageSize(frame.width, frame.height, peak, work, scalable=not several)


def _frame_header(data: bytes) -> tuple[_Frame, int, bool]:
    """The frame header, where the first scan's header begins, and whether the image may have to be turned."""
    frame: _Frame | None = None
    at, junk, turned = 2, 0, False
    exif: list[bytes] = []
    for _ in range(MAX_METADATA_PARTS):
        found = data.find(b"\xff", at)
        if found < 0:
            raise ImageRejected("broken_image")
        junk += found - at
        at = found + 1
        while at < len(data) and data[at] == 0xFF and junk <= _MAX_JUNK:
            at, junk = at + 1, junk + 1
        if junk > _MAX_JUNK:
            raise ImageRejected("too_much_metadata")
        if at + 3 > len(data):
            raise ImageRejected("broken_image")
        marker = data[at]
        at += 1
        if marker == 0 or marker in _ALONE:
            continue
        if marker == _SOS and frame is not None:
            if len(exif) > _MAX_EXIF_SEGMENTS or (exif and not directory_is_bounded(b"".join(exif))):
                raise ImageRejected("too_much_metadata")
            return frame, at, turned
        if marker in (_SOS, _EOI) or (marker in _FRAMES and frame is not None):
            raise ImageRejected("broken_image")
        if marker in _FRAMES:
            frame = _parse_frame(marker, data[at : at + 8 + 3 * 4])
        end = at + max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == _APP1:
            turned = True  # EXIF and XMP may say so
            if data.startswith(_EXIF, at + 2):
                exif.append(data[at + 2 + len(_EXIF) : end])
        at = end
    raise ImageRejected("too_much_metadata")


def _parse_frame(marker: int, segment: bytes) -> _Frame:
    try:
        _, _, height, width, channels = struct.unpack_from(">HBHHB", segment)
        factors = [segment[8 + 3 * number + 1] for number in range(channels)]
    except (struct.error, IndexError) as error:  # Pillow reads at most four components
        raise ImageRejected("broken_image") from error
    sampling = [(factor >> 4, factor & 15) for factor in factors]
    if not sampling or not all(1 <= across <= 4 and 1 <= down <= 4 for across, down in sampling):
        raise ImageRejected("broken_image")
    return _Frame(marker, width, height, sampling)


def _scans(data: bytes, at: int) -> int:
    """The number of scans; `at` is where the first one's header begins. Raises ImageRejected beyond MAX_SCANS."""
    scans, has_length = 1, True
    for _ in range(MAX_METADATA_PARTS):
        if has_length:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        found = _MARKER.search(data, at)
        if found is None:
            return scans
        at, marker = found.end(), data[found.end() - 1]
        if marker == _EOI:
            return scans
        scans += marker == _SOS
        if scans > MAX_SCANS:
            raise ImageRejected("too_many_scans")
        has_length = marker not in _ALONE
    raise ImageRejected("too_much_metadata")
