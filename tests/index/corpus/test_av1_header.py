"""An AV1 image's own header gives the size that is decoded, and its frames are counted."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from index.corpus.av1_header import av1_frames
from index.corpus.image_limits import ImageRejected

DELIMITER = b"\x12\x00"
FRAME = b"\x32\x01\x00"  # an OBU of type 6 with one byte


def sequence_header(*fields: tuple[int, int]) -> bytes:
    """An OBU of type 1 of (value, number of bits), the most significant bit first."""
    value = count = 0
    for number, bits in fields:
        value, count = value << bits | number, count + bits
    size = 40
    return b"\x0a" + bytes([size]) + (value << 8 * size - count).to_bytes(size, "big")


def size(width: int, height: int) -> tuple[tuple[int, int], ...]:
    return (15, 4), (15, 4), (width - 1, 16), (height - 1, 16)


STILL = sequence_header((0, 3), (1, 1), (1, 1), (0, 5), *size(300, 200))
PLAIN = sequence_header((0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (9, 5), (0, 1), *size(300, 200))
TIMED = sequence_header(
    (0, 3), (0, 1), (0, 1),
    (1, 1), (1, 32), (1, 32), (1, 1), (0b00100, 5),  # timing, with a number in Golomb's code
    (1, 1), (4, 5), (0, 32), (0, 5), (0, 5),  # a model of the decoder, with delays of 5 bits
    (1, 1), (0, 5), (0, 12), (3, 5), (1, 1), (0, 11), (1, 1), (0, 4),
    *size(300, 200),
)  # fmt: skip


@pytest.mark.parametrize("header", [STILL, PLAIN, TIMED], ids=["still", "plain", "timed"])
def test_the_size_is_read_from_each_form_of_the_header(header: bytes) -> None:
    assert av1_frames(memoryview(DELIMITER + header + FRAME)) == ((300, 200), 1)


def test_hidden_frames_are_counted_and_the_largest_sequence_is_taken() -> None:
    small = sequence_header((0, 3), (1, 1), (1, 1), (0, 5), *size(16, 16))
    assert av1_frames(memoryview(small + FRAME * 500 + STILL + FRAME)) == ((300, 200), 501)


def test_an_image_of_an_encoder_has_its_size_and_one_frame() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(stream, "AVIF", speed=10)
    data = stream.getvalue()
    found = [av1_frames(memoryview(data)[at:]) for at in range(len(data)) if data[at : at + 2] == b"\x0a\x06"]
    assert ((96, 64), 1) in found or ((96, 64), 1) in [av1_frames(memoryview(data)[data.index(b"mdat") + 4 :])]


@pytest.mark.parametrize("data", [b"", b"\x0a", b"nothing of the kind", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff"])
def test_other_bytes_have_no_frames_or_harmless_ones(data: bytes) -> None:
    assert av1_frames(memoryview(data))[1] <= len(data)


def test_a_million_empty_units_are_rejected() -> None:
    with pytest.raises(ImageRejected, match="too_much_metadata"):
        av1_frames(memoryview(DELIMITER * 1_000_000))
