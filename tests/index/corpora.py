"""Small corpora that the tests of `index` share: encoded images and hand-made tars."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """`image` as bytes of a file of format `kind`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(color: tuple[int, int, int] = (200, 30, 60), size: tuple[int, int] = (8, 6)) -> bytes:
    """A small PNG of one color."""
    return encode(Image.new("RGB", size, color))


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT) -> Path:
    """A tar with `members` in their order."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample_members(key: str, caption: str, suffix: str = "png", **fields: Any) -> list[tuple[str, bytes]]:
    """Image, .json and .txt of one sample, in img2dataset's shape."""
    number = sum(key.encode()) % 256
    return [
        (f"{key}.{suffix}", picture((number, 255 - number, 90))),
        (f"{key}.json", json.dumps({"key": key, "caption": caption, **fields}).encode()),
        (f"{key}.txt", caption.encode()),
    ]
