"""What the tests of evaluation sets share: small pictures of three colours, and class folders of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.index.corpora import encode

COLORS = ("red", "dark green", "blue")


def jpeg(color: str) -> bytes:
    """A picture of 8 x 8 pixels."""
    return encode(Image.new("RGB", (8, 8), color.replace(" ", "")), "JPEG")


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """FOLDER/test/COLOR/0.jpg and 1.jpg, with `_` for the blank of "dark green"."""
    for color in COLORS:
        folder = tmp_path / "set" / "test" / color.replace(" ", "_")
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.jpg").write_bytes(jpeg(color))
    return tmp_path / "set"
