"""Where the named images are, how long and of which hash, and why the others are not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mining.sets.importers import image_finder, image_packs
from mining.sets.importers.image_finder import ImageFinder
from mining.sets.importers.image_packs import ImagePack
from mining.sets.importers.record import NamedImage
from tests.mining.sets.importers.made_files import base64_file, image_file, sha256, write_images, write_tar


def test_images_of_folders_and_tars_are_measured(tmp_path: Path) -> None:
    files = write_images(tmp_path / "folder", ["a.jpg", "b.jpg"])
    write_tar(tmp_path / "c.tar", {"x/c.jpg": image_file(77)})
    finder = ImageFinder([str(tmp_path / "folder"), str(tmp_path / "c.tar")], ImagePack(str(tmp_path / "out")))
    asked = [NamedImage("a.jpg"), NamedImage("c.jpg"), NamedImage("a.jpg"), NamedImage("b")]
    found = finder.find(asked)
    finder.close()
    assert [each.place.sha256 if each.place else each.reason for each in found] == [
        sha256(files["a.jpg"]),
        sha256(image_file(77)),
        sha256(files["a.jpg"]),
        sha256(files["b.jpg"]),
    ]
    assert [each.place.size if each.place else None for each in found][:2] == [len(files["a.jpg"]), len(image_file(77))]
    assert finder.counts() == {"named": 3, "found": 3, "not_found": {}, "examples": {}}


def test_what_is_not_found_has_a_reason_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_packs, "MAX_IMAGE_BYTES", 500)
    monkeypatch.setattr(image_finder, "MAX_IMAGE_BYTES", 500)
    folder = tmp_path / "folder"
    write_images(folder, ["a/1.jpg", "b/1.jpg", "2.jpg"])
    (folder / "text.jpg").write_text("<html>")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "large.jpg").write_bytes(image_file(1) + b"\0" * 600)
    (tmp_path / "secret.jpg").write_bytes(image_file(9))
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "inner.jpg").symlink_to(folder / "2.jpg")
    finder = ImageFinder([str(folder)], ImagePack(str(tmp_path / "out")))
    names = ["1.jpg", "2.jpg", "text.jpg", "empty.jpg", "large.jpg", "link.jpg", "inner.jpg", "gone.jpg"]
    found = finder.find([NamedImage(name) for name in names])
    assert [each.reason for each in found] == [
        "ambiguous",
        None,
        "unknown format",
        "empty",
        "too large",
        "a link out of its folder",
        None,
        "missing",
    ]
    counts = finder.counts()
    assert (counts["named"], counts["found"], sum(counts["not_found"].values())) == (8, 2, 6)
    assert counts["examples"]["missing"] == ["gone.jpg"]


def test_a_file_that_was_removed_after_listing_is_unreadable(tmp_path: Path) -> None:
    write_images(tmp_path / "folder", ["a.jpg"])
    write_tar(tmp_path / "t" / "b.tar", {"b.jpg": image_file(1)})
    finder = ImageFinder([str(tmp_path / "folder"), str(tmp_path / "t")], ImagePack(str(tmp_path / "out")))
    (tmp_path / "folder" / "a.jpg").unlink()
    (tmp_path / "t" / "b.tar").write_bytes(b"\0" * 520)
    found = finder.find([NamedImage("a.jpg"), NamedImage("b.jpg")])
    assert [each.reason for each in found] == [
        "unreadable: No such file or directory",
        "unreadable: the tar ends early",
    ]


def test_images_in_records_and_in_files_of_base64_are_packed(tmp_path: Path) -> None:
    texts = {"SD_1": base64_file(1), "SD_2": "!", "SD_3": base64_file(3)}
    (tmp_path / "SD.json").write_text(json.dumps(texts))
    pack = ImagePack(str(tmp_path / "out"))
    finder = ImageFinder([str(tmp_path / "SD.json")], pack, ["SD_1", "SD_2"])
    asked = [NamedImage("SD_1"), NamedImage("SD_2"), NamedImage("SD_3"), NamedImage(None, data=image_file(1))]
    found = finder.find([*asked, NamedImage(None, data=b"no image")])
    pack.close()
    assert [each.reason for each in found] == [None, "broken base64", "missing", None, "unknown format"]
    assert found[0].place == found[3].place
    assert finder.roots == ()


def test_a_url_is_found_by_the_other_names_of_its_file(tmp_path: Path) -> None:
    write_images(tmp_path / "folder", ["647514.jpg"])
    finder = ImageFinder([str(tmp_path / "folder")], ImagePack(str(tmp_path / "out")))
    [found] = finder.find([NamedImage(None, "https://x.org/photos/647514/large.jpg", ("647514",))])
    assert found.place is not None
    assert found.place.path == "647514.jpg"


def test_pipes_and_links_in_a_circle_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    finder = ImageFinder([str(folder)], ImagePack(str(tmp_path / "out")))
    found = finder.find([NamedImage("pipe.jpg"), NamedImage("circle.jpg"), NamedImage("gone\n.jpg")])
    finder.close()
    assert [each.reason for each in found] == ["no regular file", "unreadable: links in a circle", "missing"]
    assert finder.counts()["examples"]["missing"] == ["gone\\n.jpg"]


def test_an_id_of_two_images_is_ambiguous(tmp_path: Path) -> None:
    one, two = base64_file(1), base64_file(2)
    (tmp_path / "SD.json").write_text(f'{{"a": "{one}", "b": "{one}", "a": "{two}", "b": "{one}"}}')
    pack = ImagePack(str(tmp_path / "out"))
    finder = ImageFinder([str(tmp_path / "SD.json")], pack, ["a", "b"])
    pack.close()
    assert [each.reason for each in finder.find([NamedImage("a"), NamedImage("b")])] == ["ambiguous", None]
