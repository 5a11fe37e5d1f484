"""Small made files of the foreign formats, small images, and the round trip that every importer is tested with."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mining.sets.image_sets import ImageSets
from mining.sets.importers import ImportConfig, export_records, import_sets
from mining.sets.importers.record_files import records_file

HUMAN = {"from": "human", "value": "Image 1: <image>\nImage 2: <image>\nWhat differs?"}
GPT = {"from": "gpt", "value": "Differences:\n1. The left bus is red."}


def image_file(color: int, kind: str = "PNG") -> bytes:
    """An image file of 4 x 4 pixels of one color, 0 to 255."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (color, 255 - color, 90)).save(buffer, kind)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def base64_file(color: int) -> str:
    return base64.b64encode(image_file(color)).decode()


def write_images(folder: Path, names: list[str]) -> dict[str, bytes]:
    """PNG files of different colors under these names (whatever their suffix)."""
    files = {}
    for color, name in enumerate(names):
        files[name] = image_file(color)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(files[name])
    return files


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def import_records(folder: Path, form: str, records: list[Any], suffix: str = ".jsonl", **options: Any) -> ImageSets:
    """Write the records to a file and import it into `folder`/pairs."""
    file = folder / f"records{suffix}"
    file.write_bytes(records_file(records, suffix))
    return import_file(folder, form, file, **options)


def import_file(folder: Path, form: str, *files: Path, **options: Any) -> ImageSets:
    """Import files into `folder`/pairs."""
    return import_sets(ImportConfig(tuple(map(str, files)), form, str(folder / "pairs"), **options))


def round_trip(folder: Path, form: str, records: list[Any], suffix: str = ".jsonl", **options: Any) -> ImageSets:
    """Import the records and check that the export gives them back: every field, in its order, and their order."""
    sets = import_records(folder, form, records, suffix, **options)
    assert sets.manifest["import"]["skipped"] == {}
    [back] = export_records(sets).values()
    assert [json.dumps(each) for each in back] == [json.dumps(each) for each in records]
    return sets
