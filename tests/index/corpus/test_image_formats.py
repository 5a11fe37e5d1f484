"""The format of an image file follows its first bytes."""

from __future__ import annotations

import pytest
from PIL import Image

from index.corpus.image_formats import image_extension
from tests.index.corpora import encode


@pytest.mark.parametrize(
    ("kind", "extension"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
        ("AVIF", "avif"),
    ],
)
def test_the_extension_follows_the_bytes(kind: str, extension: str) -> None:
    assert image_extension(encode(Image.new("RGB", (8, 8), "red"), kind)) == extension


def test_avif_is_known_by_its_major_or_a_compatible_brand() -> None:
    for brands in (b"avif\0\0\0\0mif1", b"avis\0\0\0\0avif", b"mif1\0\0\0\0mif1avif", b"avis\0\0\0\0msf1"):
        assert image_extension(b"\0\0\0\x20ftyp" + brands) == "avif"
    assert image_extension(b"\0\0\0\x20ftypheic\0\0\0\0mif1heic") == "heic"


@pytest.mark.parametrize("data", [b"", b"<svg>", b"RIFF\0\0\0\0WAVE", b"\xff\xd8"])
def test_other_bytes_have_no_image_extension(data: bytes) -> None:
    assert image_extension(data) is None
