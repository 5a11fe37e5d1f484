"""`open_dataset` finds out what a source is, prefers the folder of a split, and says when there is nothing to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.clip.evaluate.datasets.open import open_dataset
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import COLORS, jpeg
from tests.index.corpora import write_tar


def test_class_folders_of_a_split(class_folders: Path) -> None:
    found = list(open_dataset(class_folders, split="test", classes=COLORS))
    assert [example.labels for example in found] == [(2,), (2,), (1,), (1,), (0,), (0,)]
    assert len(list(open_dataset(class_folders / "test", split="validation", classes=COLORS))) == 6  # no such folder


def test_a_folder_of_tars_in_their_order_and_one_tar(tmp_path: Path) -> None:
    for number, color in enumerate(("red", "blue")):
        write_tar(tmp_path / f"{number}.tar", [(f"{color}.jpg", jpeg(color)), (f"{color}.cls", color.encode())])
    assert [example.labels for example in open_dataset(tmp_path, classes=COLORS)] == [(0,), (2,)]
    assert [example.key for example in open_dataset(tmp_path / "1.tar", classes=COLORS)] == ["blue"]


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such dataset"):
        open_dataset(tmp_path / "none")
    with pytest.raises(BadInput, match="holds neither images nor tars"):
        open_dataset(tmp_path)
