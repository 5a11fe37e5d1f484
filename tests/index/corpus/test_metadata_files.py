"""Rows of metadata.jsonl and metadata.csv reach their images, in any folder; those that cannot are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.corpus.metadata_files import is_metadata_file, read_metadata_files
from index.corpus.samples import PassedOver
from index.errors import BadInput


def read(
    root: Path, *paths: str, images: tuple[str, ...], encoding: str | None = None
) -> tuple[dict[str, str], dict[str, int]]:
    passed = PassedOver()
    found = read_metadata_files(str(root), paths, images, encoding, passed)
    return found, dict(passed.counts)


def test_names_are_relative_to_the_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "metadata.jsonl").write_bytes(b'\xef\xbb\xbf{"file_name": "a.jpg", "text": "A", "n": NaN}\n\n')
    (tmp_path / "train" / "metadata.csv").write_text('file_name,caption\n./b.jpg,"B, and\nmore"\n')
    found, passed = read(tmp_path, "metadata.jsonl", "train/metadata.csv", images=("a.jpg", "train/b.jpg"))
    assert {name: json.loads(line) for name, line in found.items()} == {
        "a.jpg": {"caption": "A", "n": None},
        "train/b.jpg": {"caption": "B, and\nmore"},
    }
    assert not passed


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    lines = ['{"file_name": "a.jpg", "text": "first"}', '{"file_name": "a.jpg"}', '{"file_name": "gone.jpg"}']
    lines += ["[1]", "{cut", '{"text": "no name"}']
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "metadata.csv").write_text("file_name,text\nb.jpg\nb.jpg,B,too many\nb.jpg,B\n")
    found, passed = read(tmp_path, "metadata.jsonl", "metadata.csv", images=("a.jpg", "b.jpg"))
    assert found == {"a.jpg": '{"caption": "first"}', "b.jpg": '{"caption": "B"}'}
    assert passed == {
        "broken rows of metadata.jsonl": 3,
        "rows of metadata.jsonl without their image": 1,
        "repeated rows of metadata.jsonl": 1,
        "broken rows of metadata.csv": 2,
    }


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes("file_name,text\na.jpg,für\n".encode("cp1252"))
    with pytest.raises(BadInput, match=r"metadata\.csv: is not UTF-8; name its encoding with --caption-encoding"):
        read(tmp_path, "metadata.csv", images=("a.jpg",))
    found, _ = read(tmp_path, "metadata.csv", images=("a.jpg",), encoding="cp1252")
    assert json.loads(found["a.jpg"]) == {"caption": "für"}


def test_only_these_names_are_metadata_files() -> None:
    names = ("metadata.jsonl", "d/metadata.csv", "metadata.json", "my_metadata.csv")
    assert [is_metadata_file(name) for name in names] == [True, True, False, False]
