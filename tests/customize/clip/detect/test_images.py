"""Images by name, from folders and from tars."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from customize.clip.detect.images import open_images
from index.errors import BadInput
from tests.index.corpora import encode, write_tar


def png(color: str) -> bytes:
    return encode(Image.new("RGB", (6, 4), color), "PNG")


def test_images_come_from_a_folder_and_its_sub_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "deep" / "b.png").write_bytes(png("blue"))
    opened = open_images(str(tmp_path), ["a.png", "deep/b.png"])
    assert opened("deep/b.png").getpixel((0, 0)) == (0, 0, 255)
    assert opened("a.png").size == (6, 4)


def test_images_come_from_tars_by_the_last_part_of_their_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("val/a.png", png("red")), ("val/a.json", b"{}")])
    write_tar(tmp_path / "1.tar", [("val/b.png", png("blue"))])
    opened = open_images(str(tmp_path), ["a.png", "b.png"])
    assert opened("b.png").getpixel((0, 0)) == (0, 0, 255)
    with pytest.raises(BadInput, match=r"has no image c.png, which the annotations name"):
        open_images(str(tmp_path), ["c.png"])


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"has no image b\.png"):
        open_images(str(tmp_path), ["b.png"])
    with pytest.raises(BadInput, match="no such folder of images"):
        open_images(str(tmp_path / "none"), [])
    with pytest.raises(BadInput, match=r"a.png: the image cannot be used \(.*\); replace or remove it"):
        open_images(str(tmp_path), ["a.png"])("a.png")
    with pytest.raises(BadInput, match="leaves its folder"):
        open_images(str(tmp_path), ["../a.png"])
    (tmp_path / "0.tar").write_bytes(write_tar(tmp_path / "w", [("a.png", png("red"))]).read_bytes()[:700])
    with pytest.raises(BadInput, match=r"0.tar: cannot be read to its end"):
        open_images(str(tmp_path), ["a.png"])
