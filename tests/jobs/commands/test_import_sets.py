"""`clipmine import`: counts that add up, and what cannot be imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mining.sets.image_sets import ImageSets
from tests.jobs.running import Fails, Run, counts
from tests.mining.sets.importers.made_files import write_images


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", ["1.jpg", "2.jpg"])
    rows = [{"file": f"{number}.jpg", "text": f"Number {number}."} for number in (1, 2, 3)]
    lines = [*map(json.dumps, rows), "{broken", json.dumps({"file": "../1.jpg", "text": "out"})]
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_it_says_what_became_of_every_record_and_image(table: Path, tmp_path: Path, clipmine: Run) -> None:
    asked = ["import", table, "--format", "table", "--map", "image=file,caption=text", "--out", tmp_path / "pairs"]
    lines = clipmine(*asked, "--images", tmp_path / "images")
    found = counts(lines)
    assert found["records"] == found["imported"] + found["- broken JSON"] + found["- an image's name leaves the folder"]
    assert (found["imported"], found["sets"], found["annotations"]) == (3, 3, 0)
    assert found["images named"] == found["images found"] + found["- missing"] == 3
    assert any(line.startswith("skipped ") and "table.jsonl: line 4" in line for line in lines)
    assert any(line.startswith("not found ") and "3.jpg (missing)" in line for line in lines)
    said = json.loads(clipmine(*asked, "--images", tmp_path / "images", "--json")[0])
    assert said["import"]["records"] == 5
    assert ImageSets.open(tmp_path / "pairs")[0].members[0].caption == "Number 1."


def test_without_images_it_says_so_and_what_to_do_next(table: Path, tmp_path: Path, clipmine: Run) -> None:
    asked = ["import", table, "--format", "table", "--map", "image=file,caption=text", "--out"]
    lines = clipmine(*asked, tmp_path / "pairs")
    assert any(
        line.startswith("note ") and "no --images was given, so images are known by name or URL only (3)" in line
        for line in lines
    )
    assert lines[-1] == f"next: clipmine serve STORE --pairs {tmp_path / 'pairs'} (STORE: any store)"
    lines = clipmine(*asked, tmp_path / "others", "--images", tmp_path / "images")
    assert not any("no --images was given" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--format table --map image=picture", "has no column picture; it has file, text"),
        ("--format table", "--format table needs the columns"),
        ("--format table --map file", "write ROLE=COLUMN"),
        ("--format llava --map image=file", "llava has columns of its own"),
        ("--format lava", "'lava' is not one of"),
        ("--format llava", "nothing could be imported as llava (lacks a field: 4, broken JSON: 1)"),
        ("--format cad-inst --images nowhere", "nowhere: does not exist"),
        ("--format llava --kind x", "--kind would have no effect without --format table"),
    ],
)
def test_what_cannot_be_imported_is_an_error_of_one_line(
    table: Path, tmp_path: Path, fails: Fails, arguments: str, message: str
) -> None:
    line, status = fails("import", table, *arguments.split(), "--out", tmp_path / "pairs")
    assert message in line
    assert status == 2


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, fails: Fails) -> None:
    line, status = fails("import", tmp_path / "nowhere.json", "--format", "llava", "--out", tmp_path / "pairs")
    assert "nowhere.json: does not exist" in line
    assert status == 2
