"""Subtle-Diff: three attributes of two people are annotations of one pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mining.sets.importers import export_records
from mining.sets.importers.record import RecordRejected
from mining.sets.importers.subtle_diff import parse_subtle_diff
from tests.mining.sets.importers.made_files import import_file, write_images


def record(name: str = "test/v1_1010_oboe", texts: tuple[str, ...] = ("color", "shape", "texture")) -> dict[str, Any]:
    number = name.rpartition("/")[2].split("_")[1]
    sides = [{"name": f"v1_{number}_{side}", "url": "", "width": 1024, "height": 1024} for side in ("after", "before")]
    attributes = [
        {
            "type": "textarea",
            "name": f"{key} of it",
            "key": key,
            "title": "",
            "value": f"The {key} in image 1 differs.\n",
        }
        for key in texts
    ]
    box = {"type": "checkbox", "name": "image collapse", "key": "image_collapse", "title": [], "value": []}
    return {
        "id": f"uuid-{number}",
        "name": name,
        "status": "completed",
        "contents": sides,
        "secondsToAnnotate": 0,
        "attributes": [*attributes[:1], box, *attributes[1:]],
        "tags": ["checked"],
        "externalAssignee": "Ann",
    }


def test_two_people_and_three_attributes_stand_side_by_side(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["test/v1_1010_after.png", "test/v1_1010_before.png"])
    files = {}
    for person, texts in (("annotations1", ("color", "shape", "texture")), ("annotations2", ("texture", "color"))):
        files[person] = [record(texts=texts), record("train/v1_20_red purse", texts)]
        (tmp_path / f"{person}.json").write_text(json.dumps(files[person]))
    sets = import_file(
        tmp_path, "subtle-diff", *(tmp_path / f"{name}.json" for name in files), images=(str(tmp_path / "images"),)
    )
    oboe, purse = sets.with_annotations(kind="difference_note")
    assert [(each.annotator.name, each.content["attribute"]) for each in oboe.annotations] == [
        ("subtle-diff annotations1", "color"),
        ("subtle-diff annotations1", "shape"),
        ("subtle-diff annotations1", "texture"),
        ("subtle-diff annotations2", "texture"),
        ("subtle-diff annotations2", "color"),
    ]
    assert oboe.annotations[0].turns[0].images == (0, 1)
    assert (oboe.split, oboe.concept, purse.split, purse.concept) == ("test", "oboe", "train", "red purse")
    assert [member.path for member in oboe.members] == ["test/v1_1010_after.png", "test/v1_1010_before.png"]
    back = export_records(sets)
    assert {name: json.dumps(rows) for name, rows in back.items()} == {
        f"{person}.json": json.dumps(rows) for person, rows in files.items()
    }


def test_a_record_without_texts_and_in_another_order_comes_back(tmp_path: Path) -> None:
    bare = {**record(texts=()), "attributes": []}
    moved = {name: record()[name] for name in reversed(record())}
    moved["attributes"] = [{name: each[name] for name in reversed(each)} for each in moved["attributes"]]
    (tmp_path / "r.json").write_text(json.dumps([bare, moved]))
    sets = import_file(tmp_path, "subtle-diff", tmp_path / "r.json")
    assert json.dumps(export_records(sets)["r.json"]) == json.dumps([bare, moved])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contents": []}, "has not two images"),
        ({"contents": [{"url": ""}, {"url": ""}]}, "contents are objects that begin with a name"),
        ({"contents": [{"name": 1}, {"name": 2}]}, "an image's name is int"),
        ({"attributes": {}}, "contents and attributes are lists"),
        ({"attributes": ["x"]}, "an attribute is no object"),
        ({"name": 3}, "name is int"),
    ],
)
def test_what_is_no_record_is_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_subtle_diff({**record(), **change})
