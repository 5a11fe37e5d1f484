"""Scenes in COCO's form: boxes on what is seen, and types that are base and novel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from scenes.coco_files import main, novel_types, write_coco
from scenes.drawing.render import render
from scenes.world.catalog import load_catalog
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.sample import sample
from scenes.world.splits import concept_groups


def test_boxes_are_those_of_the_truth(tmp_path: Path) -> None:
    about = json.loads(write_coco("corpus", tmp_path, 4, first=2).read_text())
    assert [image["id"] for image in about["images"]] == [2, 3, 4, 5]
    names = {row["id"]: row["name"] for row in about["categories"]}
    assert list(names.values()) == list(load_catalog().types)
    found = 0
    for image in about["images"]:
        with Image.open(tmp_path / "images" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"]) == (96, 96)
        scene = sample("corpus", image["id"])
        drawn = render(scene, 96)
        truth = {(thing.type, tuple(drawn.boxes[place])) for place, thing in enumerate(scene.objects)}
        for row in (row for row in about["annotations"] if row["image_id"] == image["id"]):
            x, y, width, height = row["bbox"]
            assert (names[row["category_id"]], (x, y, x + width, y + height)) in truth
            assert 0 <= x < x + width <= 96
            assert row["area"] == width * height
            found += 1
    assert found == len(about["annotations"]) > 0


def test_the_split_has_every_category_once_and_other_types_have_no_box(tmp_path: Path) -> None:
    types = (*concept_groups()["frequent"][:3], novel_types()[0])
    about = json.loads(write_coco("test", tmp_path, 6, types=types).read_text())
    split = json.loads((tmp_path / "split.json").read_text())
    assert split["base"] == list(types[:3])
    assert split["novel"] == [types[3]]
    assert {row["category_id"] for row in about["annotations"]} <= {1, 2, 3, 4}
    assert all("{}" in template for template in split["templates"])


def test_easy_scenes_have_easy_types(tmp_path: Path) -> None:
    main(["--split", "test", "--count", "2", "--out", str(tmp_path), "--easy"])
    about = json.loads((tmp_path / "boxes.json").read_text())
    shown = {row["category_id"] for row in about["annotations"]}
    names = {row["id"]: row["name"] for row in about["categories"]}
    assert tuple(names.values()) == EASY_TYPES
    assert {names[number] for number in shown} <= {
        thing.type for number in range(2) for thing in easy_scene("test", number).objects
    }
    assert shown


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    right: dict[str, Any] = {"split": "test", "out": tmp_path, "count": 1}
    wrong: dict[str, Any]
    for wrong in ({"split": "tset"}, {"types": ("no such type",)}, {"count": 0}, {"first": -1}):
        with pytest.raises(BadInput, match=r"unknown|positive"):
            write_coco(**{**right, **wrong})
    with pytest.raises(SystemExit):
        main(["--split", "tset", "--out", str(tmp_path)])


def test_the_command_line_writes_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--split", "test", "--count", "1", "--out", str(tmp_path / "a")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "a" / "boxes.json")
    pixels = np.asarray(Image.open(tmp_path / "a" / "images" / "000000.jpg"))
    assert pixels.shape == (96, 96, 3)
