"""Images are found by path, by base name and by stem, in folders and tars, and never outside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from index.errors import BadInput
from mining.sets.importers.image_names import ImageNames, Place, is_inside, split_root
from tests.mining.sets.importers.made_files import image_file, write_images, write_tar


def listed(*roots: Path) -> ImageNames:
    names = ImageNames()
    for root in roots:
        names.add_root(str(root))
    return names


def path_of(found: Place | str) -> str:
    return found if isinstance(found, str) else found.path


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["coco/train2017/1.jpg"], "coco/train2017/1.jpg"),
        (["elsewhere/2.jpg"], "coco/train2017/2.jpg"),
        (["2"], "coco/train2017/2.jpg"),
        (["2.png"], "coco/train2017/2.jpg"),
        (["data/train2017/1.jpg"], "coco/train2017/1.jpg"),
        (["./vg/1.jpg"], "vg/1.jpg"),
        (["1.jpg"], "ambiguous"),
        (["1"], "ambiguous"),
        (["other/1.jpg"], "ambiguous"),
        (["nowhere.jpg"], "missing"),
        (["nowhere.jpg", "3"], "missing"),
        (["nowhere.jpg", "3.b.png"], "vg/3.b.png"),
        (["3.b"], "vg/3.b.png"),
        (["note"], "missing"),
        (["../vg/3.b.png"], "vg/3.b.png"),
    ],
)
def test_a_name_leads_to_one_file_or_to_none(tmp_path: Path, asked: list[str], expected: str) -> None:
    write_images(tmp_path, ["coco/train2017/1.jpg", "coco/train2017/2.jpg", "vg/1.jpg", "vg/3.b.png", "note.txt"])
    assert path_of(listed(tmp_path).find(asked)) == expected


def test_a_file_at_the_top_is_preferred_for_a_name_without_folders(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.jpg", "a/1.jpg"])
    assert path_of(listed(tmp_path).find(["1.jpg"])) == "1.jpg"
    assert path_of(listed(tmp_path).find(["a/1.jpg"])) == "a/1.jpg"


def test_members_of_tars_are_found_in_a_folder_and_by_themselves(tmp_path: Path) -> None:
    files = {"VG_100K/1.jpg": image_file(1), "VG_100K/note.txt": b"x", "VG_100K/2.jpg": image_file(2)}
    write_tar(tmp_path / "data" / "vg.tar", files)
    for root in (tmp_path / "data", tmp_path / "data" / "vg.tar"):
        names = listed(root)
        assert len(names) == 2
        found = names.find(["VG_100K/2.jpg"])
        assert isinstance(found, Place)
        assert (found.root, found.shard) == (str(tmp_path / "data"), "vg.tar")
        assert found.offset is not None
        assert found.size is not None
        data = (tmp_path / "data" / "vg.tar").read_bytes()
        assert data[found.offset : found.offset + found.size] == image_file(2)


def test_a_damaged_tar_gives_what_comes_before_and_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"1.jpg": image_file(1), "2.jpg": image_file(2)})
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:1600])
    names = listed(tmp_path / "a.tar")
    assert path_of(names.find(["1.jpg"])) == "1.jpg"
    assert names.notes == [f"{tmp_path}/a.tar: truncated tar after 1 images"]


def test_links_to_folders_are_named_and_not_entered(tmp_path: Path) -> None:
    write_images(tmp_path / "far", ["1.jpg"])
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "coco").symlink_to(tmp_path / "far")
    names = listed(tmp_path / "near")
    assert len(names) == 0
    assert names.notes == [f"{tmp_path}/near/coco: a link to a folder, not entered; name it as well"]
    assert path_of(listed(tmp_path / "near" / "coco").find(["1.jpg"])) == "1.jpg"


def test_a_folder_in_an_object_store_is_listed() -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/importers/images/a/1.jpg", image_file(1))
    names = ImageNames()
    names.add_root("memory://importers/images")
    assert path_of(names.find(["1.jpg"])) == "a/1.jpg"


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: does not exist; --images names a folder"):
        listed(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a.jpg", "a/b c/ü.jpg", "..a/b..jpg", "a:b.jpg", "1"])
def test_names_inside_the_folder(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a.jpg", "a/../../b.jpg", "a\\..\\b", "\\\\x\\a", "C:\\a.jpg", "a\0"]
)
def test_names_that_leave_the_folder(name: str) -> None:
    assert not is_inside(name)


def test_a_tar_is_split_from_its_folder() -> None:
    assert split_root("data/a.tar") == ("data", "a.tar")
    assert split_root("a.tar") == (".", "a.tar")
    assert split_root("/a.tar") == ("/", "a.tar")
    assert split_root("data") == ("data", None)


def test_pipes_links_and_unreadable_folders_are_noted_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    write_tar(tmp_path / "out.tar", {"secret.jpg": b"x"})
    write_tar(folder / "in.tar", {"1.jpg": b"x"})
    (folder / "closed").mkdir()
    os.mkfifo(folder / "pipe.tar")
    for name, target in (("link", "../out"), ("inner", "in"), ("gone", "nothing"), ("circle", "circle")):
        (folder / f"{name}.tar").symlink_to(f"{target}.tar")
    scandir = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    names = ImageNames()
    names.add_root(str(folder))
    assert names.find(["secret.jpg"]) == "missing"
    assert len(names) == 2
    assert sorted(note.removeprefix(f"{folder}/") for note in names.notes) == [
        "circle.tar: unreadable: links in a circle",
        "closed: not listed (Permission denied)",
        "gone.tar: unreadable: No such file or directory",
        "link.tar: a link out of its folder",
        "pipe.tar: no regular file",
    ]


def test_a_root_that_is_neither_a_folder_nor_a_tar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    write_tar(tmp_path / "out.tar", {"1.jpg": b"x"})
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link.tar").symlink_to(tmp_path / "out.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    for name, message in (
        ("x.zip", "is no folder, tar or file of images"),
        ("d/link.tar", "a link out of its folder"),
        ("pipe.tar", "no regular file"),
    ):
        with pytest.raises(BadInput, match=message):
            ImageNames().add_root(str(tmp_path / name))
    (tmp_path / "folder.tar").mkdir()
    assert split_root(str(tmp_path / "folder.tar")) == (str(tmp_path / "folder.tar"), None)
