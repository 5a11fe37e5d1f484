"""The size of a JPEG XL image is read from its first bytes, as the plug-in decodes it when it is opened."""

from __future__ import annotations

import io

import pillow_jxl  # noqa: F401  registers the format
import pytest
from PIL import Image

from index.corpus.image_limits import ImageRejected
from index.corpus.jxl_header import measure_jxl
from tests.index.hostile_images import box

SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"


def bits(*numbers: tuple[int, int]) -> bytes:
    """A bare codestream of (value, number of bits), the least significant bit first."""
    value = at = 0
    for number, count in numbers:
        value |= number << at
        at += count
    return b"\xff\x0a" + value.to_bytes(16, "little")


@pytest.mark.parametrize("size", [(64, 48), (64, 64), (160, 90), (801, 533), (5_000, 9), (9, 5_000), (12, 10)])
def test_the_size_is_that_of_the_decoded_image(size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "JXL", effort=1)
    measured = measure_jxl(stream.getvalue())
    assert (measured.width, measured.height) == size
    codestream = stream.getvalue()
    if codestream.startswith(b"\xff\x0a"):
        for boxes in (
            box(b"jxlc", codestream),
            box(b"jxlp", bytes(4) + codestream[:3]) + box(b"jxlp", bytes(4) + codestream[3:]),
        ):
            assert measure_jxl(SIGNATURE + boxes) == measured


def test_the_largest_size_of_the_format_is_read() -> None:
    largest = (1 << 30) - 1
    measured = measure_jxl(bits((0, 1), (3, 2), (largest, 30), (0, 3), (3, 2), (largest, 30)))
    assert (measured.width, measured.height) == (1 << 30, 1 << 30)


@pytest.mark.parametrize("data", [b"\xff\x0a", SIGNATURE, SIGNATURE + box(b"jxlc", b"nothing"), SIGNATURE + b"\0" * 8])
def test_what_has_no_codestream_is_broken(data: bytes) -> None:
    with pytest.raises(ImageRejected, match="broken_image"):
        measure_jxl(data)


def test_many_boxes_before_the_codestream_are_rejected() -> None:
    with pytest.raises(ImageRejected, match="too_much_metadata"):
        measure_jxl(SIGNATURE + box(b"free", b"") * 20_000)
