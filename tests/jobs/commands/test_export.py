"""`clipmine export`: tars on any executor, URL lists, and options that a format ignores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrieval.selection import Selection
from tests.folders import file_bytes
from tests.jobs.running import Fails, Run, counts
from tests.mining.made_sets import write_foreign_sets


def test_tars_are_the_same_with_workers_and_when_run_again(small_selection: str, tmp_path: Path, clipmine: Run) -> None:
    asked = ["export", small_selection, "--shard-size", 10]
    lines = clipmine(*asked, "--out", tmp_path / "one", "--workers", 1)
    assert counts(lines)["rows exported"] == Selection.open(small_selection).rows == 33
    assert len(list((tmp_path / "one").glob("*.tar"))) == 4
    clipmine(*asked, "--out", tmp_path / "two", "--workers", 2)
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "two")
    (tmp_path / "one" / "manifest.json").unlink()
    assert counts(clipmine(*asked, "--out", tmp_path / "one"))["rows exported"] == 33
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "two")


def test_the_former_name_of_shard_size_still_works(small_selection: str, tmp_path: Path, clipmine: Run) -> None:
    clipmine("export", small_selection, "--out", tmp_path / "tars", "--samples-per-shard", 20)
    assert len(list((tmp_path / "tars").glob("*.tar"))) == 2


def test_a_url_list_holds_every_row(small_selection: str, tmp_path: Path, clipmine: Run) -> None:
    asked = ["export", small_selection, "--out", tmp_path / "urls", "--format", "csv", "--json"]
    assert json.loads(clipmine(*asked)[0])["exported"] == 33
    assert len((tmp_path / "urls" / "urls.csv").read_text().splitlines()) == 1 + 33


def test_image_sets_are_no_selection(tmp_path: Path, fails: Fails) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    line, status = fails("export", sets.path, "--out", tmp_path / "x")
    assert "is image sets, not a selection; what takes it: clipmine annotate" in line
    assert status == 2


@pytest.mark.parametrize("option", ["--shard-size 5", "--executor ray", "--workers 2"])
def test_options_of_the_tars_are_refused_for_a_list(
    option: str, small_selection: str, tmp_path: Path, fails: Fails
) -> None:
    line, status = fails("export", small_selection, "--out", tmp_path / "x", "--format", "urls", *option.split())
    assert f"{option.split()[0]} would have no effect with --format urls" in line
    assert status == 2
    assert not (tmp_path / "x").exists()
