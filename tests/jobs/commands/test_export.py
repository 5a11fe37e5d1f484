"""`clipmine export`: tars on any executor, URL lists, and options that a format ignores."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from retrieval.selection import Selection
from tests.folders import file_bytes
from tests.index.corpora import encode, write_tar
from tests.jobs.running import Fails, Run, counts
from tests.mining.made_sets import write_foreign_sets

FORMATS = ("JPEG", "GIF", "TIFF")


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


def test_formats_that_trainers_drop_are_named(tiny_clip_dir: Path, tmp_path: Path, clipmine: Run) -> None:
    drawn = [Image.new("RGB", (32, 24), (200, 9 * number, 90)) for number in range(3)]
    members = [
        (f"{number}.{kind.lower()}", encode(each, kind))
        for number, (each, kind) in enumerate(zip(drawn, FORMATS, strict=True))
    ]
    members += [(f"{number}.txt", f"a plain picture {number}".encode()) for number in range(3)]
    write_tar(tmp_path / "0.tar", sorted(members))
    (tmp_path / "concepts.csv").write_text("name,id\npicture,7\n")
    clipmine("embed", tmp_path / "0.tar", "--out", tmp_path / "store", "--model-dir", tiny_clip_dir)
    asked = ["--concepts", tmp_path / "concepts.csv", "--mode", "t2i", "-k", 3]
    clipmine("retrieve", tmp_path / "store", *asked, "--out", tmp_path / "selection")
    lines = clipmine("export", tmp_path / "selection", "--out", tmp_path / "out")
    assert lines[-1].split(None, 1) == [
        "formats",
        "1 gif, 1 tif: open_clip's loader drops these; --reencode jpg writes them as JPEG",
    ]
    again = clipmine("export", tmp_path / "selection", "--out", tmp_path / "jpeg", "--reencode", "jpg")
    assert not [line for line in again if line.startswith("formats")]
    with tarfile.open(tmp_path / "jpeg/00000.tar") as tar:
        assert sum(name.endswith((".jpg", ".cls")) for name in tar.getnames()) == 6


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
