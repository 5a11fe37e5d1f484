"""The strips, tiles and tags of a TIFF are bounded before Pillow and libtiff read them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from index.corpus.image_decoding import decode_image
from index.corpus.image_limits import MAX_IMAGE_PIXELS, MAX_METADATA_PARTS, MAX_WORK_PER_PIXEL, ImageRejected
from index.corpus.tiff_header import directory_is_bounded, measure_tiff
from tests.index.corpora import encode
from tests.index.hostile_images import tiff

SHORT, LONG, UNDEFINED = 3, 4, 7
DEFLATE = 8


def gray(width: int, height: int, compression: int = 1) -> list[tuple[int, int, list[int]]]:
    """The tags of a gray image but for its strips or tiles."""
    return [(256, LONG, [width]), (257, LONG, [height]), (258, SHORT, [8]), (259, SHORT, [compression]),
            (262, SHORT, [1]), (277, SHORT, [1])]  # fmt: skip


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRejected) as caught:
        measure_tiff(data)
    return caught.value.reason


@pytest.mark.parametrize(
    ("mode", "options", "each"),
    [
        ("RGB", {}, 4),
        ("RGB", {"compression": "tiff_lzw"}, 8),
        ("RGBA", {}, 8),
        ("L", {}, 5),
        ("L", {"compression": "tiff_adobe_deflate"}, 5),
        ("1", {"compression": "group4"}, 5),
        ("I;16", {}, 6),
        ("CMYK", {}, 8),
    ],
)
def test_the_memory_follows_from_the_samples(mode: str, options: dict[str, Any], each: int) -> None:
    data = encode(Image.new(mode, (60, 40)), "TIFF", **options)
    size = measure_tiff(data)
    assert (size.width, size.height, size.peak_bytes) == (60, 40, each * 60 * 40)
    assert decode_image(data).size == (60, 40)


def test_a_tile_far_larger_than_the_image_is_its_memory_and_its_work() -> None:
    packed = zlib.compress(bytes(1 << 20))
    tiles = [(322, LONG, [30_000]), (323, LONG, [30_000]), (324, LONG, [4_096]), (325, LONG, [len(packed)])]
    size = measure_tiff(tiff([*gray(16, 16, DEFLATE), *tiles], packed))
    assert size.peak_bytes >= 30_000 * 30_000
    assert size.work > MAX_WORK_PER_PIXEL * MAX_IMAGE_PIXELS


def test_a_strip_for_each_of_a_million_rows_is_rejected() -> None:
    many = 300_000
    strips = [(273, LONG, [8] * many), (278, LONG, [1]), (279, LONG, [8] * many)]
    assert reason_of(tiff([*gray(8, many), *strips])) == "too_much_metadata"


def test_tiles_of_one_pixel_are_rejected() -> None:
    tiles = [(322, LONG, [1]), (323, LONG, [1]), (324, LONG, [8]), (325, LONG, [1])]
    assert reason_of(tiff([*gray(1_000, 1_000), *tiles])) == "too_much_metadata"


def directory(tags: int, length: int) -> bytes:
    """EXIF data of tags that all name the same bytes."""
    entries = b"".join(struct.pack("<HHII", 1_000 + number, UNDEFINED, length, 0) for number in range(tags))
    return (b"II*\0" + struct.pack("<IH", 8, tags) + entries).ljust(length, b"\0")


def test_tags_that_all_name_the_whole_file_are_rejected() -> None:
    assert reason_of(directory(1_000, 1 << 20)) == "too_much_metadata"
    assert not directory_is_bounded(directory(1_000, 1 << 20))
    assert not directory_is_bounded(b"Exif\0\0" + directory(1_000, 1 << 20))
    assert directory_is_bounded(directory(10, 1_000))
    assert directory_is_bounded(b"MM\0*")


def test_a_directory_of_all_tags_there_are_is_rejected() -> None:
    assert reason_of(directory(MAX_METADATA_PARTS + 1, 4)) == "too_much_metadata"


def test_hostile_exif_data_costs_the_turn_only() -> None:
    exif = directory(1_000, 1 << 20)
    assert decode_image(encode(Image.new("RGB", (60, 40)), "WEBP", exif=b"Exif\0\0" + exif)).size == (60, 40)


def test_big_tiff_is_measured_as_pillow_reads_it() -> None:
    data = encode(Image.new("RGB", (60, 40)), "TIFF", big_tiff=True)
    assert data[:4] == b"II+\0"
    assert (measure_tiff(data).width, measure_tiff(data).height) == (60, 40)
    assert decode_image(data).size == (60, 40)


@pytest.mark.parametrize("cut", [4, 9])
def test_a_cut_off_file_is_broken(cut: int) -> None:
    assert reason_of(encode(Image.new("RGB", (60, 40)), "TIFF")[:cut]) == "broken_image"
