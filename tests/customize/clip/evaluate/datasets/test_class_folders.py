"""Class folders get their labels by name or by sorted order; folders that do not fit the classes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.clip.evaluate.datasets.class_folders import FolderOrder, open_class_folders
from customize.clip.evaluate.datasets.dataset import Dataset
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import COLORS, jpeg


def opened(folder: Path, classes: tuple[str, ...] | None, folders: FolderOrder = "names") -> Dataset:
    images = sorted(path.relative_to(folder / "test").as_posix() for path in folder.rglob("*.jpg"))
    return open_class_folders(str(folder / "test"), images, classes, folders)


def test_folders_get_their_label_by_name(class_folders: Path) -> None:
    found = list(opened(class_folders, COLORS))
    assert [example.labels for example in found] == [(2,), (2,), (1,), (1,), (0,), (0,)]
    assert found[0].key == "blue/0.jpg"
    assert found[0].open().size == (8, 8)


def test_numbered_folders_get_their_label_by_sorted_order(class_folders: Path) -> None:
    data = opened(class_folders, ("b", "g", "r"), "sorted")
    assert [example.labels[0] for example in data] == [0, 0, 1, 1, 2, 2]
    assert [example.labels[0] for example in data] == [0, 0, 1, 1, 2, 2]  # it can be read again


def test_without_a_list_the_folders_are_the_classes(class_folders: Path) -> None:
    assert opened(class_folders, None).classes == ("blue", "dark_green", "red")


def test_a_folder_that_is_no_class_is_named(class_folders: Path) -> None:
    with pytest.raises(BadInput, match="1 folders are no class of the list, such as 'dark_green'"):
        opened(class_folders, ("red", "blue"))


def test_sorted_folders_must_be_as_many_as_the_classes(class_folders: Path) -> None:
    with pytest.raises(BadInput, match="3 class folders with images for 4 classes"):
        opened(class_folders, ("a", "b", "c", "d"), "sorted")


def test_an_image_beside_the_class_folders_is_named(class_folders: Path) -> None:
    (class_folders / "test" / "loose.jpg").write_bytes(b"")
    with pytest.raises(BadInput, match=r"loose\.jpg lies beside the class folders"):
        opened(class_folders, None)


def test_two_classes_with_one_folder_name_are_named(class_folders: Path) -> None:
    with pytest.raises(BadInput, match=r"'dark green' and 'Dark-Green' \(numbers 1 and 3\) would have one folder"):
        opened(class_folders, ("red", "dark green", "blue", "Dark-Green"))


def test_the_content_changes_with_an_image(class_folders: Path) -> None:
    before = opened(class_folders, COLORS).content()
    assert opened(class_folders, COLORS).content() == before
    (class_folders / "test" / "red" / "0.jpg").write_bytes(jpeg("blue") + b"\0")
    changed = opened(class_folders, COLORS).content()
    (class_folders / "test" / "red" / "0.jpg").unlink()
    assert len({before, changed, opened(class_folders, COLORS).content()}) == 3
