"""Hugging Face datasets from a local folder: labels, captions and splits, and one line for what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from customize.clip.evaluate.datasets.hub import open_hub
from customize.clip.evaluate.datasets.open import open_dataset
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import COLORS, jpeg


def colors(**columns: list[Any]) -> Any:
    """A picture of each colour with its label, and `columns`."""
    image = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLORS))})
    texts = {name: datasets.Value("string") for name in columns}
    rows = {"image": [{"bytes": jpeg(color), "path": None} for color in COLORS], "label": [0, 1, 2], **columns}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({**image, **texts}))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    path = str(tmp_path / "disk")
    colors(caption=[f"a {color} square" for color in COLORS]).save_to_disk(path)
    return path


def test_labels_captions_and_images_are_read(folder: str) -> None:
    data = open_dataset(folder)
    assert data.classes == COLORS
    found = list(data)
    assert [example.labels for example in found] == [(0,), (1,), (2,)]
    assert found[1].captions == ("a dark green square",)
    pixel = found[2].open().getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert pixel[2] > 200


def test_a_split_is_chosen_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "splits")
    datasets.DatasetDict({"train": colors(), "test": colors().select([1])}).save_to_disk(path)
    assert [example.labels for example in open_hub(path, "test", None, {})] == [(1,)]
    with pytest.raises(BadInput, match="has the splits train, test; name one of them"):
        open_hub(path, "validation", None, {})


def test_what_does_not_fit_is_said(folder: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has 3 classes, the list 2"):
        open_hub(folder, None, ("red", "blue"), {})
    with pytest.raises(BadInput, match="has no image column"):
        open_hub(folder, None, None, {"image": "picture"})
    with pytest.raises(BadInput, match="cannot be loaded"):
        open_hub(str(tmp_path), None, None, {})


def test_the_content_changes_with_the_folder_the_split_and_the_columns(folder: str, tmp_path: Path) -> None:
    before = open_hub(folder, None, None, {}).content()
    assert open_hub(folder, None, None, {}).content() == before
    assert open_hub(folder, None, None, {"captions": "label"}).content() != before
    assert open_hub(folder, "test", None, {}).content() != before
    (Path(folder) / "state.json").write_text((Path(folder) / "state.json").read_text() + " ")
    assert open_hub(folder, None, None, {}).content() != before
