"""`clipmine info`: rows, model and recall, and what to do where an index is missing or too old."""

from __future__ import annotations

import json
from pathlib import Path

from mining.sets.annotation import Annotation, Annotator
from tests.jobs.running import Fails, Run, counts
from tests.mining.made_sets import write_foreign_sets
from tests.mining.sets.importers.made_files import import_records


def test_it_shows_rows_model_and_recall(store: Path, clipmine: Run) -> None:
    assert clipmine("info", store)[-1] == f"next: clipmine index {store}"
    clipmine("index", store, "--modality", "image")
    lines = clipmine("info", store)
    assert counts(lines) == {"rows": 33, "parts": 2}
    assert any(line.startswith("image index") for line in lines)
    assert any("recall@10" in line for line in lines)
    info = json.loads(clipmine("info", store, "--json")[0])
    assert [index["modality"] for index in info["indexes"]] == ["image"]


def test_forgotten_rows_are_counted(store: Path, tmp_path: Path, clipmine: Run) -> None:
    (tmp_path / "rows.txt").write_text("1\n2\n")
    clipmine("forget", store, "--rows", tmp_path / "rows.txt")
    assert counts(clipmine("info", store))["- forgotten"] == 2


def test_image_sets_are_counted_by_strategy_source_and_annotation(tmp_path: Path, clipmine: Run) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg"]], texts=["one"], split=["train", None])
    lines = clipmine("info", sets.path)
    assert counts(lines) == {
        "sets": 2,
        "- photos, level 0": 2,
        "split train": 1,
        "images, each once a set": 3,
        "annotations": 1,
        "- comparison by model": 1,
        "sets rejected by people": 0,
        "sets kept by people": 0,
    }
    [source] = sets.sources
    assert [line.split() for line in lines if line.startswith(source)] == [[source, str(tmp_path / "photos")]]
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert any(line.endswith("photos (is not there)") for line in clipmine("info", sets.path))
    info = json.loads(clipmine("info", sets.path, "--json")[0])
    assert (info["sets"], info["strategies"]) == (2, [{"strategy": "photos", "level": 0, "sets": 2}])


def test_answers_that_were_not_understood_are_no_decisions_of_people(tmp_path: Path, clipmine: Run) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    said = Annotation.make(sets[0].set_id, "rejected", Annotator("llava"), (), {"reason": "no list", "text": "?"})
    sets.add_annotations([said], "one")
    found = counts(clipmine("info", sets.path))
    assert (found["- answer not understood by llava"], found["sets rejected by people"]) == (1, 0)


def test_a_source_without_a_folder_is_named(tmp_path: Path, clipmine: Run) -> None:
    records = [{"id": "a", "image": "a.jpg", "conversations": [{"from": "human", "value": "<image>"}]}]
    sets = import_records(tmp_path, "llava", records)
    line = next(line for line in clipmine("info", sets.path) if line.startswith("llava-"))
    assert line.endswith("has no folder; sets with images known by name or URL only: 1")


def test_a_folder_that_is_no_store_is_one_line(tmp_path: Path, fails: Fails) -> None:
    line, status = fails("info", tmp_path)
    assert str(tmp_path) in line
    assert status == 2


def test_a_tuned_model_is_named_with_the_commands_that_take_it(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "tune.json").write_text("{}")
    line, status = fails("info", tmp_path)
    assert "is a tuned model, not a store or image sets; what takes it: clipmine evaluate" in line
    assert status == 2
