"""Class folders, tars and Hugging Face folders give the same examples; what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from customize.clip.evaluate.datasets.dataset import open_dataset
from index.errors import BadInput
from tests.index.corpora import encode, write_tar

COLORS = ("red", "dark green", "blue")


def _jpg(color: str) -> bytes:
    return encode(Image.new("RGB", (8, 8), color.replace(" ", "")), "JPEG")


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    for color in COLORS:
        folder = tmp_path / "set" / "test" / color.replace(" ", "_")
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.jpg").write_bytes(_jpg(color))
    return tmp_path / "set"


def test_class_folders_are_met_by_name(class_folders: Path) -> None:
    found = list(open_dataset(class_folders, split="test", classes=COLORS))
    assert [example.labels for example in found] == [(2,), (2,), (1,), (1,), (0,), (0,)]
    assert found[0].open().size == (8, 8)


def test_numbered_folders_are_met_in_sorted_order(class_folders: Path) -> None:
    data = open_dataset(class_folders / "test", classes=("b", "g", "r"), folders="sorted")
    assert [example.labels[0] for example in data] == [0, 0, 1, 1, 2, 2]
    assert [example.labels[0] for example in data] == [0, 0, 1, 1, 2, 2]  # it can be read again


def test_a_folder_that_is_no_class_is_named(class_folders: Path) -> None:
    with pytest.raises(BadInput, match="1 folders are no class of the list, such as 'dark_green'"):
        open_dataset(class_folders / "test", classes=("red", "blue"))


def test_sorted_folders_must_be_as_many_as_classes(class_folders: Path) -> None:
    with pytest.raises(BadInput, match="3 class folders with images for 4 classes"):
        open_dataset(class_folders / "test", classes=("a", "b", "c", "d"), folders="sorted")


def test_tars_hold_labels_captions_masks_and_boxes(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1], [255, 2]], np.uint8))
    about = {"label": "blue", "captions": ["one", "two"], "boxes": [[0, 1, 2, 3]], "box_labels": ["red"]}
    write_tar(
        tmp_path / "0.tar",
        [
            ("a.jpg", _jpg("red")),
            ("a.cls", b"0"),
            ("a.txt", b"a red picture\n"),
            ("b.jpg", _jpg("blue")),
            ("b.json", json.dumps(about).encode()),
            ("b.mask.png", encode(mask, "PNG")),
        ],
    )
    first, second = open_dataset(tmp_path, classes=COLORS)
    assert (first.labels, first.captions, first.mask) == ((0,), ("a red picture",), None)
    assert (second.labels, second.captions, second.box_labels) == ((2,), ("one", "two"), (0,))
    assert second.boxes.tolist() == [[0, 1, 2, 3]]
    assert second.mask is not None
    assert second.mask().tolist() == [[0, 1], [255, 2]]


def test_a_label_beyond_the_classes_is_named_with_its_sample(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.jpg", _jpg("red")), ("a.cls", b"7")])
    with pytest.raises(BadInput, match=r"0\.tar, a: its label '7' is none of the 3 classes"):
        list(open_dataset(tmp_path, classes=COLORS))


def test_a_cut_tar_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.jpg", _jpg("red")), ("a.cls", b"0")])
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:700])
    with pytest.raises(BadInput, match="cannot be read to its end"):
        list(open_dataset(tmp_path, classes=COLORS))


def test_a_broken_image_is_named_when_it_is_opened(class_folders: Path) -> None:
    (class_folders / "test" / "red" / "0.jpg").write_bytes(b"no image")
    broken = next(example for example in open_dataset(class_folders, split="test") if example.key == "red/0.jpg")
    with pytest.raises(BadInput, match=r"red/0\.jpg: its image cannot be used"):
        broken.open()


def test_a_hugging_face_folder_is_read_from_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLORS))})
    rows = {"image": [{"bytes": _jpg(color), "path": None} for color in COLORS], "label": [0, 1, 2]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "disk"))
    data = open_dataset(tmp_path / "disk")
    assert data.classes == COLORS
    found = list(data)
    assert [example.labels for example in found] == [(0,), (1,), (2,)]
    assert found[2].open().getpixel((4, 4))[2] > 200  # type: ignore[index]


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such dataset"):
        open_dataset(tmp_path / "none")
    with pytest.raises(BadInput, match="holds neither images nor tars"):
        open_dataset(tmp_path)
    (tmp_path / "loose.jpg").write_bytes(_jpg("red"))
    with pytest.raises(BadInput, match=r"loose\.jpg lies beside the class folders"):
        open_dataset(tmp_path)
