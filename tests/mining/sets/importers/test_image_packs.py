"""Images inside tables go into tars; files of base64 images are read piece by piece."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining.sets.importers import image_packs
from mining.sets.importers.image_names import Place
from mining.sets.importers.image_packs import ImagePack, checked, encoded_images, is_encoded
from tests.mining.sets.importers.made_files import base64_file, image_file, sha256


def test_images_are_packed_once_into_whole_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_packs, "_TAR_BYTES", 1500)
    pack = ImagePack(str(tmp_path))
    files = [image_file(1), image_file(2, "JPEG"), image_file(1), image_file(3)]
    places = [pack.add(data) for data in files]
    pack.close()
    assert places[0] == places[2]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["images_0000.tar", "images_0001.tar"]
    for place, data in zip(places, files, strict=True):
        assert isinstance(place, Place)
        assert place.shard is not None
        assert place.offset is not None
        whole = (tmp_path / "images" / place.shard).read_bytes()
        assert whole[place.offset : place.offset + len(data)] == data
        with tarfile.open(tmp_path / "images" / place.shard) as tar:
            member = tar.extractfile(place.path)
            assert member is not None
            assert member.read() == data
        assert place.path.startswith(sha256(data))
    assert str(places[1]).count(".jpg")


def test_no_image_makes_no_tar(tmp_path: Path) -> None:
    pack = ImagePack(str(tmp_path))
    assert pack.add(b"") == "empty"
    assert pack.add(b"<svg/>") == "unknown format"
    pack.close()
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_too_many_bytes_is_not_taken() -> None:
    assert checked(image_file(1)[:32], (64 << 20) + 1) == "too large"
    assert checked(image_file(1)[:32], 64 << 20) is None


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_base64_images_are_read_by_their_ids(tmp_path: Path, suffix: str) -> None:
    texts = {"a": base64_file(1), "b": "no base64!", "c": f"data:image/png;base64,{base64_file(2)}"}
    path = tmp_path / f"SD{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(texts))
    else:
        pq.write_table(pa.table({"id": list(texts), "base64": list(texts.values())}), path)
    assert is_encoded(str(path))
    assert list(encoded_images(str(path))) == [("a", image_file(1)), ("b", None), ("c", image_file(2))]


def test_a_value_that_is_no_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 3}')
    assert list(encoded_images(str(tmp_path / "x.json"))) == [("a", None)]


def test_another_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "image": ["b"]}), tmp_path / "x.parquet")
    (tmp_path / "x.json").write_text('{"a": "bc"')
    cases: list[tuple[str, str]] = [
        ("x.parquet", "a file of images has a column base64 and one of ids; it has id, image"),
        ("x.json", "broken JSON"),
        ("y.json", "does not exist"),
        ("y.parquet", "does not exist"),
    ]
    for name, message in cases:
        found: Any = encoded_images(str(tmp_path / name))
        with pytest.raises(BadInput, match=message):
            list(found)


def test_what_is_no_file_of_images_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR")
    os.mkfifo(tmp_path / "pipe.json")
    for name, message in (("x.parquet", "is damaged, or of another kind"), ("pipe.json", "no regular file")):
        found: Any = encoded_images(str(tmp_path / name))
        with pytest.raises(BadInput, match=message):
            list(found)
    (tmp_path / "folder.json").mkdir()
    assert not is_encoded(str(tmp_path / "folder.json"))
