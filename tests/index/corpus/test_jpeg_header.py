"""A JPEG's scans and segments are counted before it is decoded."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from index.corpus.image_decoding import decode_image
from index.corpus.image_limits import MAX_METADATA_PARTS, MAX_SCANS, ImageRejected
from index.corpus.jpeg_header import measure_jpeg
from tests.index.corpora import encode
from tests.index.hostile_images import jpeg_of_scans

PLAIN = encode(Image.new("RGB", (40, 24)), "JPEG")


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRejected) as caught:
        measure_jpeg(data)
    return caught.value.reason


def with_segments(segments: bytes) -> bytes:
    """PLAIN with segments after its first marker."""
    return PLAIN[:2] + segments + PLAIN[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def test_a_sequential_jpeg_is_one_pass_over_its_pixels() -> None:
    size = measure_jpeg(PLAIN)
    assert (size.width, size.height, size.work, size.peak_bytes) == (40, 24, 40 * 24, 4 * 40 * 24)
    assert size.scalable


@pytest.mark.parametrize("scans", [20, MAX_SCANS])
def test_each_scan_of_a_progressive_jpeg_is_work(scans: int) -> None:
    data = jpeg_of_scans(scans)
    assert measure_jpeg(data).work == 64 * 48 + 64 * 48 * scans // 8
    assert decode_image(data).size == (64, 48)
    assert not measure_jpeg(data).scalable


def test_more_scans_than_libtiff_takes_are_rejected() -> None:
    assert reason_of(jpeg_of_scans(MAX_SCANS + 1)) == "too_many_scans"
    assert reason_of(jpeg_of_scans(1_000)) == "too_many_scans"


def test_scans_of_single_components_count_too() -> None:
    gray = jpeg_of_scans(MAX_SCANS + 1)
    sequential = gray.replace(b"\xff\xc2", b"\xff\xc0", 1)
    assert measure_jpeg(sequential).work == 64 * 48, "the first scan has all components: libjpeg ends after it"
    one_of_two = PLAIN.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x01", 1)
    begin = one_of_two.index(b"\xff\xda")
    assert reason_of(one_of_two[:-2] + one_of_two[begin:-2] * MAX_SCANS + b"\xff\xd9") == "too_many_scans"


def test_scans_cannot_be_hidden_behind_an_end_marker_in_a_segment_or_restart_markers() -> None:
    data = jpeg_of_scans(1_000)
    first = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    hidden = data[:first] + segment(0xFE, b"\xff\xd9") + b"\xff\xd0\xff\x01\xff\xff" + data[first:]
    assert reason_of(hidden) == "too_many_scans"


def test_a_thumbnail_in_the_exif_data_is_no_scan() -> None:
    inside = jpeg_of_scans(1_000, (8, 8))[:60_000]
    assert measure_jpeg(with_segments(segment(0xE1, b"Exif\0\0" + inside))).work == 40 * 24


def test_the_coefficients_of_a_progressive_jpeg_are_memory() -> None:
    image = Image.new("RGB", (640, 480))
    whole = encode(image, "JPEG", progressive=True, subsampling=0)
    half = encode(image, "JPEG", progressive=True, subsampling=2)
    assert measure_jpeg(whole).peak_bytes == 640 * 480 * (4 + 2 * 3)
    assert measure_jpeg(half).peak_bytes == 640 * 480 * (4 + 2 * 1.5)


def test_what_may_be_turned_takes_a_second_copy() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(Image.new("RGB", (40, 24)), "JPEG", exif=exif)
    assert measure_jpeg(turned).peak_bytes == 2 * measure_jpeg(PLAIN).peak_bytes


@pytest.mark.parametrize(
    "hostile",
    [
        segment(0xE5, b"") * (MAX_METADATA_PARTS + 1),
        b"\xff" * 100_000,
        segment(0xE5, b"") + bytes(100_000),
        segment(0xE1, b"Exif\0\0" + bytes(10)) * 100,
    ],
    ids=["segments", "fill", "junk", "exif"],
)
def test_metadata_that_pillow_would_read_bit_by_bit_is_rejected(hostile: bytes) -> None:
    assert reason_of(with_segments(hostile)) == "too_much_metadata"


def test_exif_tags_that_all_name_the_same_bytes_are_rejected() -> None:
    tags = b"".join(struct.pack(">HHII", 1_000 + number, 7, 60_000, 0) for number in range(5_000))
    exif = b"MM\0*" + struct.pack(">IH", 8, 5_000) + tags
    assert reason_of(with_segments(segment(0xE1, b"Exif\0\0" + exif))) == "too_much_metadata"


@pytest.mark.parametrize("cut", [2, 3, 4, 20, 160])
def test_a_cut_off_header_is_broken(cut: int) -> None:
    assert reason_of(PLAIN[:cut]) == "broken_image"


def test_a_second_frame_header_is_broken() -> None:
    begin = PLAIN.index(b"\xff\xc0")
    assert reason_of(PLAIN[:begin] + PLAIN[begin : begin + 19] + PLAIN[begin:]) == "broken_image"
