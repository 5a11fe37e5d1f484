"""Splits into base and novel classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from customize.clip.detect.vocabulary import load_vocabulary, vocabulary_names
from customize.clip.evaluate.task_files import load_task
from index.errors import BadInput
from tests.customize.clip.detect.conftest import write_json


def test_cocos_published_split_has_its_names_and_category_ids() -> None:
    from torchvision.models._meta import _COCO_CATEGORIES

    split, task = load_vocabulary("coco-48-17"), load_task("coco-regions")
    assert (len(split.base), len(split.novel)) == (48, 17)
    assert set(split.classes) == set(task.classes)
    assert set(split.novel) == set(task.novel)
    assert "RegionCLIP" in split.source
    assert [_COCO_CATEGORIES[split.category_ids[name]] for name in split.classes] == list(split.classes)
    assert vocabulary_names() == ["coco-48-17"]


def test_the_base_classes_come_first(tmp_path: Path) -> None:
    about = {"templates": ["a {}"], "base": ["b", "c"], "novel": ["a"]}
    split = load_vocabulary(write_json(tmp_path / "mine.json", about))
    assert split.classes == ("b", "c", "a")
    assert (split.name, split.templates, split.category_ids) == ("mine", ("a {}",), {})


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ([], "is no object with `base` and `novel`"),
        ({"novel": ["a"]}, "has no base classes"),
        ({"base": ["a", "b"], "novel": ["a"]}, "has the class 'a' twice"),
        ({"base": "dog"}, "`base` is neither a list of names nor"),
        ({"base": {"dog": "one"}}, "`base` is neither a list of names nor"),
    ],
)
def test_a_wrong_file_is_one_line(about: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        load_vocabulary(write_json(tmp_path / "mine.json", about))
    assert "\n" not in str(refused.value)


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadInput, match="is not JSON"):
        load_vocabulary(tmp_path / "broken.json")
    with pytest.raises(BadInput, match="no such file"):
        load_vocabulary(tmp_path / "none.json")
    with pytest.raises(BadInput, match="no split 'coco': give a JSON file or one of coco-48-17"):
        load_vocabulary("coco")
