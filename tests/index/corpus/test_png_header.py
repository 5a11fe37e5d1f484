"""A PNG's chunks are bounded before Pillow reads them, and its memory follows from its header."""

from __future__ import annotations

import zlib

import pytest

from index.corpus.image_decoding import decode_image
from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected
from index.corpus.png_header import measure_png
from tests.index.hostile_images import png, png_chunk

PIXELS = 30 * 20
MEGABYTE = zlib.compress(bytes((1 << 20) - 100), 9)  # a kilobyte


@pytest.mark.parametrize(
    ("depth", "color", "extra", "each"),
    [
        (8, 2, b"", 4),
        (8, 6, b"", 8),
        (16, 6, b"", 8),
        (8, 0, b"", 5),
        (1, 0, b"", 5),
        (16, 0, b"", 6),
        (8, 4, b"", 8),
        (8, 2, png_chunk(b"tRNS", bytes(6)), 8),
        (8, 3, png_chunk(b"PLTE", bytes(768)) + png_chunk(b"tRNS", b"\0"), 5),
    ],
)
def test_bytes_of_a_pixel_follow_the_color_type(depth: int, color: int, extra: bytes, each: int) -> None:
    data = png((30, 20), depth, color, extra)
    assert measure_png(data).peak_bytes == each * PIXELS
    assert decode_image(data).size == (30, 20)


def test_a_huge_image_in_a_small_file_says_its_memory() -> None:
    data = png((9_000, 1_000), 8, 6)
    assert len(data) < 100_000
    assert measure_png(data).peak_bytes == 8 * 9_000_000
    assert measure_png(png((2_000, 1_000), 16, 6, interlaced=True)).peak_bytes == 8 * 2_000_000


@pytest.mark.parametrize(
    "extra",
    [
        png_chunk(b"iCCP", b"k\0\0" + MEGABYTE) * 65,
        png_chunk(b"zTXt", b"k\0\0" + MEGABYTE) * 65,
        png_chunk(b"iTXt", b"k\0\1\0\0\0" + MEGABYTE) * 65,
        png_chunk(b"abCd", b"") * (MAX_METADATA_PARTS + 200),
        png_chunk(b"IDAT", b"") * (MAX_METADATA_PARTS + 200),
    ],
    ids=["profiles", "texts", "international", "chunks", "pixels"],
)
def test_many_chunks_are_rejected(extra: bytes) -> None:
    for data in (png((30, 20), extra=extra), png((30, 20))[:-12] + extra):  # those after the pixels are read as well
        with pytest.raises(ImageRejected, match="too_much_metadata"):
            measure_png(data)


def test_texts_of_usual_programs_are_read_and_count_as_memory() -> None:
    data = png((30, 20), extra=png_chunk(b"zTXt", b"k\0\0" + MEGABYTE) * 10)
    assert 10 << 20 <= measure_png(data).peak_bytes < 11 << 20
    assert decode_image(data).size == (30, 20)


@pytest.mark.parametrize("cut", [8, 20, 28])
def test_a_cut_off_header_is_broken(cut: int) -> None:
    with pytest.raises(ImageRejected, match="broken_image"):
        measure_png(png((30, 20))[:cut])
