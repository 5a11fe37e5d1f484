"""Lists of training images: by file name, by class and file name, and one line for names that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.clip.evaluate.train_list import listed_rows, read_train_list
from index.errors import BadInput

KEYS = ("n01/n01_1.JPEG", "n01/n01_2.JPEG", "n02/deep/0.jpg", "n03/0.jpg")


def test_names_are_found_with_and_without_class_and_suffix() -> None:
    assert listed_rows(KEYS, ("n01_2.JPEG", "n01/n01_1"), "list").tolist() == [0, 1]
    assert listed_rows(KEYS, ("n03/0.jpg", "deep/0.png", "n02/deep/0.jpg"), "list").tolist() == [2, 3]
    assert listed_rows(("train/n01_1", "train/n01_2"), ("n01_2.JPEG",), "list").tolist() == [1]  # keys of tars


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("n01_1.JPEG", "n09_1.JPEG", "n02/n01_1.JPEG"), "list: 2 of 3 names are no image .*, such as n09_1.JPEG"),
        (("0.jpg",), "list: 0.jpg is the name of 2 images, such as n02/deep/0.jpg; add its class"),
    ],
)
def test_names_that_do_not_fit_are_one_line(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        listed_rows(KEYS, names, "list")


def test_a_list_is_read_once_a_name(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# SimCLR\n\nn01_1.JPEG\n./n01/n01_2.JPEG\nn01_1.JPEG\n")
    assert read_train_list(str(tmp_path / "list.txt")) == ("n01_1.JPEG", "n01/n01_2.JPEG")
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(BadInput, match="names no image"):
        read_train_list(str(tmp_path / "list.txt"))
    with pytest.raises(BadInput, match="no such file"):
        read_train_list(str(tmp_path / "none.txt"))
