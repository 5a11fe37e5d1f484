"""AVIF and HEIC are measured by their boxes and by what the coded images say themselves."""

from __future__ import annotations

import io
import struct
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from index.corpus.heif_header import measure_avif, measure_heic
from index.corpus.image_decoding import decode_image
from index.corpus.image_limits import MAX_METADATA_PARTS, ImageRejected
from tests.index.corpora import encode
from tests.index.corpus.test_av1_header import FRAME, STILL
from tests.index.hostile_images import box

pillow_heif.register_heif_opener()


def avif(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    return encode(Image.new(mode, size), "AVIF", speed=10, **options)


def heic(size: tuple[int, int]) -> bytes:
    return encode(Image.new("RGB", size), "HEIF")


def with_ispe(data: bytes, before: tuple[int, int], after: tuple[int, int]) -> bytes:
    changed = data.replace(b"ispe" + struct.pack(">III", 0, *before), b"ispe" + struct.pack(">III", 0, *after))
    assert changed != data
    return changed


def full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


def made(kind: bytes, data: bytes, *boxes: bytes, size: tuple[int, int] = (64, 64)) -> bytes:
    """A file of one item of a kind, whose `data` is in the box `idat`."""
    item = full(b"infe", struct.pack(">HH", 1, 0) + kind + b"\0", 2)
    place = full(b"iloc", struct.pack(">HHHHHHII", 0x4400, 1, 1, 1, 0, 1, 0, len(data)), 1)
    properties = box(b"iprp", box(b"ipco", full(b"ispe", struct.pack(">II", *size))))
    inside = full(b"iinf", struct.pack(">H", 1) + item) + place + properties + b"".join(boxes) + box(b"idat", data)
    return box(b"ftyp", b"avif\0\0\0\0mif1") + full(b"meta", inside)


def test_the_size_is_that_of_the_decoded_image() -> None:
    for data, measure in ((avif((96, 64)), measure_avif), (heic((96, 64)), measure_heic)):
        measured = measure(data)
        assert (measured.width, measured.height) == (96, 64)
        assert decode_image(data).size == (96, 64)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_animation_is_measured_by_one_frame(mode: str) -> None:
    frames = [Image.new(mode, (96, 64), color) for color in ("red", "green", "blue")]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    assert measure_avif(data).work == measure_avif(avif((96, 64), mode)).work
    assert decode_image(data).size == (96, 64)


def test_a_coded_image_larger_than_its_box_says_counts() -> None:
    data = with_ispe(avif((640, 480)), (640, 480), (32, 24))
    assert measure_avif(data).pixels == 640 * 480
    assert measure_avif(with_ispe(avif((64, 48)), (64, 48), (9_000, 8_000))).pixels == 72_000_000


def test_libheif_rejects_a_coded_image_of_another_size() -> None:
    with pytest.raises(ImageRejected, match="broken_image"):
        decode_image(with_ispe(heic((640, 480)), (640, 480), (32, 24)))


def test_the_canvas_of_a_grid_counts() -> None:
    for form, flags in ((">BBBBHH", 0), (">BBBBII", 1)):
        grid = made(b"grid", struct.pack(form, 0, flags, 0, 0, 30_000, 20_000))
        assert measure_avif(grid).pixels == measure_heic(grid).pixels == 600_000_000


def test_a_grid_of_tiles_is_work_of_its_canvas() -> None:
    stream = io.BytesIO()
    file = pillow_heif.from_pillow(Image.new("RGB", (1_024, 768)))
    pillow_heif.options.GRID_TILE_SIZE = 256
    try:
        file.save(stream)
    finally:
        pillow_heif.options.GRID_TILE_SIZE = 0
    assert b"grid" in stream.getvalue()
    assert measure_heic(stream.getvalue()).work == measure_heic(heic((1_024, 768))).work
    assert decode_image(stream.getvalue()).size == (1_024, 768)


def test_each_layer_of_an_overlay_is_work() -> None:
    layers = full(b"iref", box(b"dimg", struct.pack(">HH", 1, 500) + struct.pack(">H", 2) * 500))
    canvas = struct.pack(">BBHHHHHH", 0, 0, 0, 0, 0, 0, 64, 64)
    assert measure_heic(made(b"iovl", canvas, layers)).work == 500 * measure_heic(made(b"iovl", canvas)).work


def test_hidden_frames_are_rejected() -> None:
    assert measure_avif(made(b"av01", STILL + FRAME)).pixels == 300 * 200
    with pytest.raises(ImageRejected, match="too_much_work"):
        measure_avif(made(b"av01", STILL + FRAME * 1_000))
    picture = struct.pack(">IBBB", 3, 19 << 1, 1, 0x80)  # an IDR slice that is its picture's first
    assert measure_heic(made(b"hvc1", picture)).work == 6 * 64 * 64
    with pytest.raises(ImageRejected, match="too_much_work"):
        measure_heic(made(b"hvc1", picture * 1_000))


def test_an_item_of_overlapping_parts_is_rejected() -> None:
    coded = STILL + FRAME * 100
    data = made(b"av01", coded)
    place = full(b"iloc", struct.pack(">HHHHHHII", 0x4400, 1, 1, 1, 0, 1, 0, len(coded)), 1)
    assert place in data
    parts = struct.pack(">HHHHHH", 0x4400, 1, 1, 1, 0, 100) + struct.pack(">II", 0, 300) * 100
    with pytest.raises(ImageRejected, match="too_much_metadata"):
        measure_avif(data.replace(place, full(b"iloc", parts, 1)))


@pytest.mark.parametrize("content", [box(b"free", b"") * (MAX_METADATA_PARTS + 1), box(b"ipco", b"") * 20_000])
def test_many_boxes_are_rejected(content: bytes) -> None:
    with pytest.raises(ImageRejected, match="too_much_metadata"):
        measure_avif(made(b"av01", STILL + FRAME) + content)


def test_boxes_nested_deeply_are_not_followed() -> None:
    nested = b""
    for _ in range(5_000):
        nested = box(b"iprp", nested)
    assert measure_avif(made(b"av01", STILL + FRAME) + nested).pixels == 300 * 200


def test_a_file_without_a_size_is_broken() -> None:
    for data in (box(b"ftyp", b"avif\0\0\0\0mif1"), avif((64, 48))[:60], heic((64, 48))[:60]):
        with pytest.raises(ImageRejected, match="broken_image"):
            measure_avif(data)
