"""Which files an import reads, and what decides its output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.sets.importers.formats import get_format
from mining.sets.importers.import_config import ImportConfig, check_columns, job_of, list_files
from mining.sets.importers.record_files import records_file


def test_files_folders_and_patterns_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "notes.txt", "c.parquet"):
        (tmp_path / name).write_text("x")
    listed = [Path(path).name for path in list_files([str(tmp_path)], (".json", ".jsonl"))]
    assert listed == ["a.jsonl", "b.json"]
    assert [Path(path).name for path in list_files([str(tmp_path / "*.json*")], (".json",))] == ["a.jsonl", "b.json"]
    one = str(tmp_path / "notes.txt")
    assert list_files([one, one], (".json",)) == [one]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "*.tsv"):
        with pytest.raises(BadInput, match="has no file of records"):
            list_files([str(nothing)], (".json",))
    with pytest.raises(BadInput, match=r"nowhere\.json: does not exist"):
        list_files([str(tmp_path / "nowhere.json")], (".json",))


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path: Path) -> None:
    rows = [{"file": "a.jpg", "text": "A bus."}]
    for suffix in (".parquet", ".jsonl", ".json", ".csv"):
        path = tmp_path / f"r{suffix}"
        path.write_bytes(records_file(rows, suffix))
        check_columns(get_format("table", (("image", "file"),)), [str(path)])
        with pytest.raises(BadInput, match="has no column picture, words; it has file, text"):
            check_columns(get_format("table", (("image", "picture"), ("caption", "words"))), [str(path)])
    (tmp_path / "r.parquet").write_bytes(records_file(rows, ".parquet"))
    with pytest.raises(BadInput, match="has no column image, conversations; it has file, text"):
        check_columns(get_format("cad-inst"), [str(tmp_path / "r.parquet")])


def test_a_file_of_another_suffix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"spot-the-diff is read from \.json, \.jsonl"):
        check_columns(get_format("spot-the-diff"), [str(tmp_path / "r.parquet")])


def test_the_job_depends_on_the_files_and_on_what_changes_the_sets(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("[1]")
    config = ImportConfig((str(path),), "llava", "out")
    job = job_of(config, [str(path)])
    assert job == job_of(ImportConfig((str(path),), "llava", "elsewhere", strict=True), [str(path)])
    assert job != job_of(ImportConfig((str(path),), "llava", "out", only_complete=True), [str(path)])
    path.write_text("[2]")
    assert job != job_of(config, [str(path)])


def test_an_import_of_no_files_is_an_error() -> None:
    with pytest.raises(BadInput, match="name the files to import"):
        ImportConfig((), "llava", "out")


def test_folders_and_pipes_are_no_files_of_records(tmp_path: Path) -> None:
    (tmp_path / "src" / "dd.json").mkdir(parents=True)
    (tmp_path / "src" / "a.json").write_text("[]")
    os.mkfifo(tmp_path / "src" / "pipe.json")
    assert list_files([str(tmp_path / "src")], [".json"]) == [str(tmp_path / "src" / "a.json")]
    assert list_files([str(tmp_path / "src" / "*.json")], [".json"]) == [str(tmp_path / "src" / "a.json")]
    with pytest.raises(BadInput, match="is no regular file"):
        list_files([str(tmp_path / "src" / "pipe.json")], [".json"])
    with pytest.raises(BadInput, match="cannot be read"):
        job_of(ImportConfig(("a",), "llava", "o"), [str(tmp_path / "gone.json")])
