"""An import as a whole: sets, members, annotations, counts, and what strangers' files may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.export.member_images import MemberImages
from mining.sets.image_sets import ImageSets
from mining.sets.importers import ImportConfig, export_records, import_sets
from mining.sets.importers import importing as importing_module
from tests.folders import file_bytes
from tests.mining.sets.importers.made_files import (
    GPT,
    HUMAN,
    image_file,
    import_file,
    import_records,
    sha256,
    write_images,
    write_tar,
)

ONE = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]


def pair(name: str, *images: str) -> dict[str, Any]:
    return {"id": name, "image": list(images), "conversations": [HUMAN, GPT]}


def test_members_say_where_their_images_are_and_the_images_can_be_read(tmp_path: Path) -> None:
    files = write_images(tmp_path / "folder", ["coco/1.jpg"])
    write_tar(tmp_path / "tars" / "vg.tar", {"VG_100K/2.jpg": image_file(200)})
    roots = (str(tmp_path / "folder"), str(tmp_path / "tars"))
    sets = import_records(tmp_path, "llava", [pair("a", "coco/1.jpg", "vg/2.jpg")], images=roots)
    [each] = sets
    first, second = each.members
    assert (first.key, first.path, first.shard) == ("coco/1.jpg", "coco/1.jpg", None)
    assert (first.bytes, first.sha256) == (len(files["coco/1.jpg"]), sha256(files["coco/1.jpg"]))
    assert (second.key, second.path, second.shard) == ("vg/2.jpg", None, "vg.tar")
    images = MemberImages(sets)
    assert images.read(first) == files["coco/1.jpg"]
    assert images.read(second) == image_file(200)
    assert {source.relative for source in sets.sources.values()} == {"../folder", "../tars"}


def test_an_image_that_is_not_found_keeps_its_name_and_can_be_named_later(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", [pair("a", "coco/1.jpg", "https://x.org/2.jpg")])
    said = sets.manifest["import"]
    assert (said["images_not_found"], said["incomplete_sets"]) == ({"missing": 2}, 1)
    first, second = sets[0].members
    assert (first.path, first.sha256, second.path, second.url) == ("coco/1.jpg", None, None, "https://x.org/2.jpg")
    files = write_images(tmp_path / "folder", ["coco/1.jpg"])
    assert MemberImages(sets, tmp_path / "folder").read(first) == files["coco/1.jpg"]
    assert MemberImages(sets).read(second) == "not downloaded"


def test_records_of_which_an_image_is_missing_can_be_left_out(tmp_path: Path) -> None:
    write_images(tmp_path / "folder", ["1.jpg", "2.jpg"])
    records = [pair("a", "1.jpg", "2.jpg"), pair("b", "1.jpg", "3.jpg"), {"id": "c", "conversations": [GPT]}]
    sets = import_records(tmp_path, "llava", records, images=(str(tmp_path / "folder"),), only_complete=True)
    assert [each.set_id for each in sets] == ["llava-a", "llava-c"]
    said = sets.manifest["import"]
    assert (said["records"], said["imported"], said["skipped"]) == (3, 2, {"an image was not found": 1})
    assert said["examples"] == {"an image was not found": ["records.jsonl record 1: 3.jpg: missing"]}


@pytest.mark.parametrize("name", ["../1.jpg", "/etc/1.jpg", "a/../../1.jpg", "C:\\1.jpg"])
def test_a_name_that_leaves_the_folder_is_rejected(tmp_path: Path, name: str) -> None:
    write_images(tmp_path, ["1.jpg", "folder/2.jpg"])
    records = [pair("a", name, "2.jpg"), pair("b", "2.jpg", "2.jpg")]
    sets = import_records(tmp_path, "llava", records, images=(str(tmp_path / "folder"),))
    said = sets.manifest["import"]
    assert (said["imported"], said["skipped"]) == (1, {"an image's name leaves the folder": 1})


def test_an_image_without_a_name_is_rejected(tmp_path: Path) -> None:
    said = import_records(tmp_path, "llava", [pair("a", "", "2.jpg"), pair("b", "1", "2")]).manifest["import"]
    assert (said["imported"], said["skipped"]) == (1, {"an image without a name": 1})


def test_strange_records_are_counted_and_the_others_imported(tmp_path: Path) -> None:
    lines = [
        json.dumps(pair("a", "1.jpg", "2.jpg")),
        "{broken",
        "3",
        "[]",
        json.dumps({"id": "x"}),
        json.dumps({"id": {"a": 1}, "image": "1.jpg", "conversations": ONE, "score": float("nan")}),
        '{"id": "\\ud800", "conversations": [{"from": "human", "value": "\\ud800"}]}',
        json.dumps(pair("b", "1.jpg")),
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    sets = import_file(tmp_path, "llava", tmp_path / "r.jsonl")
    said = sets.manifest["import"]
    assert said["records"] == 8
    assert said["imported"] == 2
    assert said["skipped"] == {
        "a text that is no Unicode": 1,
        "as many <image> markers as images are needed": 1,
        "broken JSON": 1,
        "is no object": 2,
        "lacks a field": 1,
    }
    assert said["examples"]["broken JSON"][0].startswith("r.jsonl: line 2: ")
    assert [each.set_id for each in sets] == ["llava-a", "llava-5"]
    assert sets.with_annotations()[1].annotations[0].content["score"] is None


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"img_id": "1", "sentences": []}], r"nothing could be imported as llava \(lacks a field: 1\), first records"),
        ([], "nothing could be imported as llava .no records."),
    ],
)
def test_a_file_of_another_format_is_an_error(tmp_path: Path, records: list[Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        import_records(tmp_path, "llava", records)


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("v1", "v2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.json").write_text(json.dumps([pair(f"{folder}", "1.jpg", f"{folder}.jpg")]))
    sets = import_file(tmp_path, "llava", tmp_path / "v1" / "data.json", tmp_path / "v2" / "data.json")
    assert [rows[0]["id"] for rows in export_records(sets).values()] == ["v1", "v2"]
    assert [each["records"] for each in sets.manifest["import"]["files"]] == [1, 1]


def test_an_unfinished_import_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "_WINDOW", 2)
    monkeypatch.setattr(importing_module, "PART_SETS", 3)
    write_images(tmp_path / "folder", [f"{number}.jpg" for number in range(12)])
    records = [pair(str(number), f"{number}.jpg", f"{number + 1}.jpg") for number in range(11)]
    (tmp_path / "r.json").write_text(json.dumps(records))
    config = ImportConfig((str(tmp_path / "r.json"),), "llava", str(tmp_path / "pairs"), (str(tmp_path / "folder"),))

    def stop(records: int, files: int) -> None:
        if records > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_sets(config, stop)
    assert (tmp_path / "pairs" / "annotations").is_dir()
    with pytest.raises(BadInput, match="no manifest"):
        ImageSets.open(tmp_path / "pairs")
    sets = import_sets(config)
    again = import_sets(ImportConfig(config.files, "llava", str(tmp_path / "whole"), config.images))
    assert len(sets) == len(sets.annotations) == 11
    resumed, whole = (file_bytes(tmp_path / name) for name in ("pairs", "whole"))
    assert resumed.pop("manifest.json") == whole.pop("manifest.json")
    assert resumed == whole
    [back] = export_records(again).values()
    assert json.dumps(back) == json.dumps(records)


def test_who_wrote_the_annotations_and_under_which_licence_can_be_said(tmp_path: Path) -> None:
    sets = import_records(
        tmp_path,
        "cad-inst",
        [{**pair("a", "1.jpg", "2.jpg"), "image": "['1.jpg', '2.jpg']"}],
        annotator="mixtral-8x7b",
        collection="CaD-Inst V1",
        licence="mine",
        homepage="https://x.org",
    )
    [each] = sets.with_annotations()
    assert (each.strategy, each.set_id) == ("CaD-Inst V1", "CaD-Inst V1-a")
    assert each.annotations[0].annotator.name == "mixtral-8x7b"
    [source] = sets.sources.values()
    assert (source.collection, source.licence, source.homepage) == ("CaD-Inst V1", "mine", "https://x.org")
    assert source.name.startswith("cad-inst-v1-")


def test_one_bad_record_does_not_cost_the_others(tmp_path: Path) -> None:
    deep = "[" * 400 + "]" * 400
    lines = [json.dumps(pair(name, "1.jpg", f"{name}.jpg")) for name in "abc"]
    bad = lines[0].replace('"a"', deep, 1)
    surrogate = lines[1].replace('"human"', '"human", "x": "\\ud800"', 1)
    twice = lines[2].replace('"id"', '"id": 1, "id"', 1)
    (tmp_path / "r.jsonl").write_text("\n".join([bad, surrogate, twice, *lines]))
    sets = import_file(tmp_path, "llava", tmp_path / "r.jsonl")
    said = sets.manifest["import"]
    assert (said["records"], said["imported"]) == (6, 3)
    assert said["skipped"] == {
        "a key comes twice in an object": 1,
        "a text that is no Unicode": 1,
        "nested too deeply": 1,
    }
