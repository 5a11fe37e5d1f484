"""The size and the number of frames of an AV1 image, the codec of AVIF (AV1 specification, sections 5.3 to 5.5)."""

from __future__ import annotations

from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected

__all__ = ["av1_frames"]

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6  # 6.2.2: types of OBUs, the units of a bitstream
_NEEDED = 64  # bytes that hold a sequence header up to the size of the frames


def av1_frames(data: memoryview) -> tuple[tuple[int, int], int]:
    """Width and height of the largest frame, and the number of frames, of which only the last need be shown.

    (0, 0) and 0 where the data does not begin like AV1. Raises ImageRejected, "too_much_metadata".
    """
    size, frames, at = (0, 0), 0, 0
    for _ in range(MAX_METADATA_PARTS):
        if at + 2 > len(data):
            return size, frames
        kind, extended, sized = data[at] >> 3 & 15, data[at] & 4, data[at] & 2
        at += 2 if extended else 1
        length = len(data) - at
        if sized:
            length, at = _leb128(data, at)
        if kind == _SEQUENCE:
            size = max(size, _frame_size(bytes(data[at : at + min(length, _NEEDED)])), key=lambda two: two[0] * two[1])
        frames += kind in (_FRAME_HEADER, _FRAME)
        at += length
    raise ImageRejected("too_much_metadata")


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the least significant first, and where it ends."""
    number = 0
    for shift in range(0, 56, 7):
        if at >= len(data):
            break
        byte = data[at]
        number, at = number | (byte & 127) << shift, at + 1
        if byte < 128:
            break
    return number, at


class _Bits:
    """Numbers of any count of bits, the most significant first; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data + bytes(_NEEDED), "big"), 8 * (len(data) + _NEEDED)

    def take(self, count: int) -> int:
        self._left = max(0, self._left - count)
        return self._value >> self._left & ((1 << count) - 1)


def _frame_size(header: bytes) -> tuple[int, int]:
    bits = _Bits(header)
    bits.take(4)  # seq_profile, still_picture
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        delay_bits = _timing(bits)
        has_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:  # seq_level_idx
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_delay and bits.take(1):
                bits.take(4)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


def _timing(bits: _Bits) -> int:
    """Skip the timing; the bits of a buffer delay, 0 where there are none."""
    if not bits.take(1):  # timing_info_present_flag
        return 0
    bits.take(64)
    if bits.take(1):  # equal_picture_interval: a number in Golomb's code follows
        zeros = 0
        while zeros < 32 and not bits.take(1):
            zeros += 1
        bits.take(zeros)
    if not bits.take(1):  # decoder_model_info_present_flag
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits
