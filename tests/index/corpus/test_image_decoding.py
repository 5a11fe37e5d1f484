"""Every kind of image that the web holds is decoded right or rejected with its reason."""

from __future__ import annotations

import importlib
import io
import struct
import sys
import threading
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from index.corpus import image_decoding
from index.corpus.image_decoding import (
    DECODE_REASONS,
    MAX_IMAGE_PIXELS,
    ImageRejected,
    decode_image,
    decode_thumbnail,
    image_extension,
)
from tests.index.corpora import encode, picture

RED = (220, 30, 40)


def corner_marked() -> Image.Image:
    """24 x 16, blue, its upper left quarter red: shows every turn."""
    image = Image.new("RGB", (24, 16), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 12, 8))
    return image


def reason_of(data: bytes, **limits: int) -> str:
    with pytest.raises(ImageRejected) as caught:
        decode_image(data, **limits)
    assert caught.value.reason in DECODE_REASONS
    return caught.value.reason


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO"])
def test_each_format_of_the_web_gives_its_color(kind: str) -> None:
    decoded = decode_image(encode(Image.new("RGB", (16, 16), RED), kind))
    assert decoded.mode == "RGB"
    assert decoded.size == (16, 16)
    assert np.abs(np.asarray(decoded, dtype=int) - RED).max() <= 12


def test_one_pixel_is_an_image() -> None:
    assert decode_image(picture(RED, (1, 1))).getpixel((0, 0)) == RED


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    samples = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        decoded = np.asarray(decode_image(encode(Image.fromarray(samples), kind)))
        assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]
        assert (decoded == decoded[..., :1]).all()


def test_16_bit_gray_tiff_with_white_as_zero_is_inverted() -> None:
    samples = np.array([[0, 65535]], dtype=np.uint16)
    data = encode(Image.fromarray(samples), "TIFF", tiffinfo={262: 0})
    assert np.asarray(decode_image(data))[0, :, 0].tolist() == [255, 0]


def test_16_bit_color_png_is_scaled_not_clipped() -> None:
    pixel = struct.pack(">HHH", 65535, 32896, 257)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(b"\0" + pixel))
        + png_chunk(b"IEND", b"")
    )
    assert decode_image(data).getpixel((0, 0)) == (255, 128, 1)


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 2, 4))
    for data in (encode(half), encode(half, "WEBP", lossless=True), encode(half.convert("LA"))):
        decoded = decode_image(data)
        assert decoded.getpixel((3, 3)) == (255, 255, 255)
        assert decoded.getpixel((0, 0)) != (255, 255, 255)


def test_palette_with_a_transparent_entry_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0] + [0] * 762)
    image.putpixel((0, 0), 0)
    for kind in ("PNG", "GIF"):
        decoded = decode_image(encode(image, kind, transparency=0))
        assert decoded.getpixel((0, 0)) == (255, 255, 255)
        assert decoded.getpixel((1, 1)) == (0, 255, 0)


def test_palette_with_an_alpha_for_each_entry_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putpixel((1, 0), 1)
    decoded = decode_image(encode(image, "PNG", transparency=bytes([255, 0])))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_and_gray(mode: str) -> None:
    decoded = decode_image(encode(Image.new(mode, (3, 3), 255)))
    assert decoded.getpixel((1, 1)) == (255, 255, 255)


def test_cmyk_jpegs_are_taken_as_adobe_writes_them() -> None:
    yellow = Image.new("CMYK", (16, 16), (0, 0, 255, 0))
    red, green, blue = decode_image(encode(yellow, "JPEG", quality=95)).getpixel((8, 8))  # type: ignore[misc]
    assert red > 240
    assert green > 240
    assert blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    turned_by_camera = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = corner_marked()
    stored = upright if turned_by_camera is None else upright.transpose(turned_by_camera)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        decoded = decode_image(encode(stored, kind, exif=exif))
        assert decoded.size == upright.size, kind
        assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(upright)).mean() < 30, kind


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # as the module does outside of pytest
def test_damaged_exif_does_not_cost_the_image() -> None:
    data = encode(Image.new("RGB", (8, 8), RED), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    assert decode_image(data).size == (8, 8)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, (0, 255, 0), (0, 0, 255))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert np.abs(np.asarray(decode_image(data), dtype=int) - RED).max() <= 12


def test_an_image_with_a_color_profile_keeps_its_size_and_decodes() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_image(encode(Image.new("RGB", (5, 5), RED), "PNG", icc_profile=profile)).getpixel((2, 2)) == RED


def test_a_bomb_is_rejected_by_its_header_before_decoding() -> None:
    bomb = png_header(20_000, 10_000)
    assert reason_of(bomb) == "too_many_pixels"
    assert reason_of(bomb, max_pixels=10**9) == "broken_image", "with a higher limit its missing pixels are found"


def test_pixel_and_byte_limits_are_parameters() -> None:
    data = picture(RED, (100, 10))
    assert decode_image(data, max_pixels=1000).size == (100, 10)
    assert reason_of(data, max_pixels=999) == "too_many_pixels"
    assert reason_of(data, max_bytes=len(data) - 1) == "too_many_bytes"
    assert MAX_IMAGE_PIXELS < 100_000_000


def test_a_thin_line_is_rejected_since_scaling_its_short_side_would_blow_it_up() -> None:
    assert reason_of(picture(RED, (101, 1))) == "too_elongated"
    assert decode_image(picture(RED, (1, 100))).size == (1, 100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_cut_off_files_are_rejected(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for share in (0.1, 0.5, 0.9):
        assert reason_of(data[: int(len(data) * share)]) == "broken_image", share


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"<!DOCTYPE html><html>404</html>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7",
        b"\0" * 1000,
        b"not an image",
    ],
)
def test_what_is_no_raster_image_of_the_web_is_unknown(data: bytes) -> None:
    assert reason_of(data) == "unknown_format"


def test_no_bytes_are_an_empty_image() -> None:
    assert reason_of(b"") == "empty_image"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_have_no_one_way_to_8_bits(mode: str) -> None:
    assert reason_of(encode(Image.new(mode, (4, 4), 70_000), "TIFF")) == "unsupported_mode"


def test_random_damage_never_raises_anything_but_a_reason() -> None:
    chance = np.random.default_rng(7)
    noise = Image.fromarray(chance.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        whole = encode(noise, kind)
        for _ in range(60):
            damaged = bytearray(whole)
            for place in chance.integers(0, len(damaged), 6):
                damaged[place] = chance.integers(0, 256)
            try:
                mode, reason = decode_image(bytes(damaged), max_pixels=10**6).mode, None
            except ImageRejected as rejected:
                mode, reason = "", rejected.reason
            assert mode == "RGB" or reason in DECODE_REASONS


def test_decoding_in_threads_gives_the_same_pixels() -> None:
    data = encode(corner_marked(), "JPEG")
    expected = np.asarray(decode_image(data))
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(bool((np.asarray(decode_image(data)) == expected).all())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_thumbnail_is_the_image_scaled_down() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((900, 600), Image.Resampling.BICUBIC)
    for kind, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})):
        data = encode(image, kind, **options)
        small, whole = decode_thumbnail(data, 100), decode_image(data)
        whole.thumbnail((100, 100))
        assert small.size == whole.size == (100, 67)
        assert np.abs(np.asarray(small, dtype=int) - np.asarray(whole)).mean() < 4, kind


def test_a_thumbnail_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_thumbnail(encode(Image.new("RGB", (900, 600)), "JPEG", exif=exif), 100).size == (67, 100)


def test_a_thumbnail_has_the_limits_of_what_is_decoded_for_it() -> None:
    large = Image.new("RGB", (1_600, 1_200))
    assert decode_thumbnail(encode(large, "JPEG"), 64, max_pixels=300_000).size == (64, 48)
    for data in (encode(large, "PNG"), encode(large, "JPEG", progressive=True)):
        with pytest.raises(ImageRejected, match="too_many_pixels"):
            decode_thumbnail(data, 64, max_pixels=300_000)


@pytest.mark.parametrize("rows", [1, 64, 65, 200])
def test_pixels_do_not_depend_on_the_bands_in_which_they_are_converted(rows: int) -> None:
    chance = np.random.default_rng(rows)
    layered = Image.fromarray(chance.integers(0, 256, (rows, 90, 4), dtype=np.uint8))
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, layered).convert("RGB"))
    assert (np.asarray(decode_image(encode(layered))) == expected).all()
    samples = chance.integers(0, 65_536, (rows, 90), dtype=np.uint16)
    gray = np.asarray(decode_image(encode(Image.fromarray(samples))))
    assert (gray[..., 0] == (samples.astype(int) * 255 + 32_767) // 65_535).all()


@pytest.mark.parametrize("kind", ["PPM", "ICO"])
def test_images_of_other_tools_give_their_color(kind: str) -> None:
    decoded = decode_image(encode(Image.new("RGB", (16, 16), RED), kind))
    assert (decoded.mode, decoded.size, decoded.getpixel((5, 5))) == ("RGB", (16, 16), RED)


def icon(inside: bytes) -> bytes:
    """An icon of one picture, which its directory says is 16 x 16."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22) + inside


def test_the_picture_in_an_icon_has_the_limits_of_any_other() -> None:
    assert decode_image(icon(picture(RED, (40, 30)))).size == (40, 30)
    assert reason_of(icon(png_header(20_000, 10_000))) == "too_many_pixels"
    assert reason_of(icon(struct.pack("<IiiHHIIiiII", 40, 30_000, 60_000, 1, 32, 0, 0, 0, 0, 0, 0))) == "broken_image"
    assert reason_of(icon(b"")) == "broken_image"
    assert reason_of(b"\0\0\1\0") == "broken_image"


def test_netpbm_is_read_in_its_binary_forms_only() -> None:
    assert decode_image(b"P5 2 2 255\n\0\xff\0\xff").getpixel((1, 0)) == (255, 255, 255)
    assert reason_of(b"P2 2 2 255\n0 255 0 255\n") == "unknown_format"
    assert reason_of(b"P5 words that begin like an image") == "broken_image"
    assert reason_of(b"P6 2 2 255\n\0") == "broken_image"


@pytest.mark.parametrize(
    ("data", "extension", "package"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "heic", "pillow_heif"),
        (b"\xff\x0a" + bytes(64), "jxl", "pillow_jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64), "jxl", "pillow_jxl"),
    ],
)
def test_formats_of_plug_ins_name_the_plug_in_that_is_missing(
    data: bytes, extension: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image_extension(data) == extension
    assert reason_of(data) == "broken_image"
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    image_decoding._plugin.cache_clear()
    reasons = {"pillow_heif": "needs_pillow_heif", "pillow_jxl": "needs_pillow_jxl_plugin"}
    assert reason_of(data) == reasons[package]


@pytest.mark.parametrize("name", ["HEIF", "JXL"])
def test_a_plug_in_that_is_installed_reads_its_format(name: str) -> None:
    pillow_heif.register_heif_opener()
    importlib.import_module("pillow_jxl")
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), RED).save(stream, name)
    decoded = decode_image(stream.getvalue())
    assert (decoded.mode, decoded.size) == ("RGB", (64, 48))
    assert np.abs(np.asarray(decoded, dtype=int) - RED).max() <= 12
