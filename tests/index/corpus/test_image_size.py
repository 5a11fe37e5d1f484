"""What decoding takes is known from an image file's header, for every format that is read."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  registers the format
import pytest
from PIL import Image

from index.corpus.image_decoding import decode_image
from index.corpus.image_limits import DECODE_REASONS, MAX_IMAGE_PIXELS, MAX_WORK_PER_PIXEL, ImageRejected
from index.corpus.image_size import measure_image
from tests.index.corpora import encode, picture
from tests.index.hostile_images import bmp, jpeg_of_scans, png, tiff

pillow_heif.register_heif_opener()

# What Pillow can write of each format: the mode, the format, options.
FILES: list[tuple[str, str, dict[str, Any]]] = [
    ("RGB", "JPEG", {}), ("RGB", "JPEG", {"progressive": True}), ("CMYK", "JPEG", {}), ("RGB", "MPO", {}),
    ("RGB", "PNG", {}), ("RGBA", "PNG", {}), ("I;16", "PNG", {}), ("P", "GIF", {}), ("P", "GIF", {"transparency": 1}),
    ("RGB", "BMP", {}), ("RGBA", "BMP", {}), ("RGB", "TIFF", {}), ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    ("RGB", "TIFF", {"compression": "jpeg"}), ("RGB", "WEBP", {}), ("RGBA", "WEBP", {"lossless": True, "quality": 0}),
    ("RGB", "AVIF", {"speed": 10}), ("RGBA", "AVIF", {"speed": 10, "subsampling": "4:4:4"}), ("RGB", "HEIF", {}),
    ("RGB", "JXL", {"effort": 1}), ("L", "PPM", {}), ("RGB", "PPM", {}), ("1", "PPM", {}),
]  # fmt: skip


def file(mode: str, kind: str, options: dict[str, Any], size: tuple[int, int]) -> bytes:
    image = Image.new(mode, size)
    image.paste(1, (0, 0, size[0] // 2, size[1] // 2))
    return encode(image, kind, **options)


def reason_of(data: bytes, **limits: int) -> str:
    with pytest.raises(ImageRejected) as caught:
        measure_image(data, **limits)
    assert caught.value.reason in DECODE_REASONS
    with pytest.raises(ImageRejected) as again:
        decode_image(data, **limits)
    assert again.value.reason == caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(("mode", "kind", "options"), FILES)
def test_every_format_is_measured_as_it_is_decoded(mode: str, kind: str, options: dict[str, Any]) -> None:
    data = file(mode, kind, options, (96, 64))
    measured = measure_image(data)
    assert (measured.width, measured.height) == decode_image(data).size == (96, 64)
    assert 4 * 96 * 64 <= measured.peak_bytes <= 30 * 96 * 64 + 2 * len(data)
    assert 96 * 64 <= measured.work <= MAX_WORK_PER_PIXEL * 96 * 64
    assert reason_of(data, max_pixels=96 * 64 - 1) == "too_many_pixels"


CHILD = """
import json, pathlib, sys
from index.corpus.image_decoding import decode_image
from index.corpus.image_size import measure_image

def resident(kind):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) * 1024

for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    decode_image(data)
    print(json.dumps([path, measure_image(data).peak_bytes, resident("VmHWM") - before]))
"""


def test_decoding_takes_no_more_memory_than_was_said(tmp_path: Path) -> None:
    paths = []
    for number, (mode, kind, options) in enumerate(FILES):
        paths.append(tmp_path / f"{number}-{mode}.{kind.lower()}")
        paths[-1].write_bytes(file(mode, kind, options, (2_000, 1_500)))
    for extra in (png((2_000, 1_500), 16, 6), png((2_000, 1_500), 8, 2)):
        paths.append(tmp_path / f"{len(paths)}.png")
        paths[-1].write_bytes(extra)
    command = [sys.executable, "-c", CHILD, *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    for line in done.stdout.splitlines():
        path, said, taken = json.loads(line)
        assert taken <= 1.1 * said + (8 << 20), path  # the 8 MiB: codecs' tables and buffers, and Python's own
    assert len(done.stdout.splitlines()) == len(paths)


def test_limits_come_before_all_else() -> None:
    assert reason_of(b"") == "empty_image"
    assert reason_of(picture(), max_bytes=10) == "too_many_bytes"
    assert reason_of(picture(size=(101, 1))) == "too_elongated"
    assert reason_of(b"<svg/>") == "unknown_format"
    assert reason_of(b"RIFF\0\0\0\0WAVEfmt ") == "unknown_format"


def test_a_side_of_zero_is_broken() -> None:
    assert reason_of(b"GIF89a" + struct.pack("<HHBBB", 0, 5, 0, 0, 0) + b",\0\0\0\0\0\0\0\0\0\2\0;") == "broken_image"


def test_many_scans_are_too_much_work_for_a_large_image_only() -> None:
    assert measure_image(jpeg_of_scans(90)).work > MAX_WORK_PER_PIXEL * 64 * 48
    assert reason_of(jpeg_of_scans(90), max_pixels=64 * 48) == "too_much_work"
    assert measure_image(jpeg_of_scans(10), max_pixels=64 * 48).pixels == 64 * 48


def test_a_large_sequential_jpeg_is_a_cheap_thumbnail() -> None:
    image = Image.new("RGB", (800, 640))
    plain, progressive = encode(image, "JPEG"), encode(image, "JPEG", progressive=True)
    small = measure_image(plain, max_pixels=200_000, side=100)
    assert small.peak_bytes == measure_image(plain).peak_bytes // 4
    assert reason_of(plain, max_pixels=200_000) == "too_many_pixels"
    for data, side in ((plain, 300), (progressive, 100)):
        with pytest.raises(ImageRejected, match="too_many_pixels"):
            measure_image(data, max_pixels=200_000, side=side)


def gif(canvas: tuple[int, int], frame: tuple[int, int], extensions: bytes = b"") -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes(6)
    return head + extensions + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\2\2L\1\0;"


def test_a_gif_has_its_canvas_and_a_first_frame_that_is_larger() -> None:
    assert measure_image(gif((600, 400), (1, 1))).pixels == 240_000
    assert reason_of(gif((8, 8), (12_000, 12_000))) == "too_many_pixels"


@pytest.mark.parametrize("extension", [b"!\xfe" + b"\1a" * 20_000 + b"\0", b"!\xfe\1a\0" * 20_000])
def test_a_gif_of_many_comments_is_rejected(extension: bytes) -> None:
    assert reason_of(gif((8, 8), (1, 1), extension)) == "too_much_metadata"


def test_run_lengths_of_a_bitmap_are_expanded_in_python_and_count_so() -> None:
    small = bmp((40, 30), 1, b"\x28\0\0\0" * 30 + b"\0\1")
    assert measure_image(small).work >= 15 * 40 * 30
    assert decode_image(small).size == (40, 30)
    assert reason_of(bmp((9_000, 9_000), 1, b"\1\0\0\0" * 9_000)) == "too_much_work"
    assert reason_of(bmp((40, 30), 1, b"\0\0" * 20_000_000)) == "too_much_work"


def test_netpbm_samples_of_another_maximum_are_scaled_in_python_and_count_so() -> None:
    assert measure_image(b"P6 20 10 255\n" + bytes(600)).work == 600
    assert measure_image(b"P6 # by a program\n20 10\n254\n" + bytes(600)).work == 60 * 600
    assert reason_of(b"P6 20 10 254\n" + bytes(600), max_pixels=200) == "too_much_work"
    assert reason_of(b"P6 9000 9000 254\n") == "too_much_work"
    assert reason_of(b"P5 #" + b"a" * 100_000 + b"\n2 2 255\n" + bytes(4)) == "too_much_metadata"


def test_a_webp_animation_is_measured_by_its_canvas() -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "green")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    at = data.index(b"VP8X") + 12
    huge = data[:at] + (8_999).to_bytes(3, "little") * 2 + data[at + 6 :]
    assert measure_image(data).pixels == 64 * 64
    assert measure_image(huge).peak_bytes >= 16 * 81_000_000


def icon(inside: bytes, count: int = 1) -> bytes:
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 6 + 16 * count)
    return struct.pack("<HHH", 0, 1, count) + entry * count + inside


def test_an_icon_is_measured_by_the_picture_that_pillow_takes() -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 4), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "ICO", sizes=[(16, 16), (256, 256), (64, 64)])
    assert measure_image(stream.getvalue()).pixels == 256 * 256
    assert reason_of(icon(png((20_000, 10), 8, 2))) == "too_elongated"
    assert reason_of(icon(picture(), 2_000)) == "too_much_metadata"
    run_lengths = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 8, 1, 0, 0, 0, 0, 0)
    assert reason_of(icon(run_lengths)) == "broken_image"


def test_tags_beyond_the_file_are_the_decoders_affair() -> None:
    strips = [(256, 4, [16]), (257, 4, [16]), (258, 3, [8]), (262, 3, [1]), (273, 4, [900_000]), (279, 4, [256])]
    assert measure_image(tiff(strips)).pixels == 256


def test_random_damage_is_measured_or_has_a_reason() -> None:
    chance = np.random.default_rng(11)
    for mode, kind, options in FILES:
        whole = file(mode, kind, options, (32, 32))
        for _ in range(100):
            damaged = bytearray(whole)
            for place in chance.integers(0, min(len(damaged), 400), 4):
                damaged[place] = chance.integers(0, 256)
            with suppress(ImageRejected):  # any other exception fails the test
                assert measure_image(bytes(damaged)).pixels <= MAX_IMAGE_PIXELS
