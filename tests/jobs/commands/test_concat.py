"""`clipmine concat`: folders of image sets become one, with counts that add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.cli import run
from mining import ImageSets
from tests.jobs.running import Run, counts
from tests.mining.made_sets import write_foreign_sets, write_sets


def test_folders_become_one_and_the_counts_add_up(tmp_path: Path, clipmine: Run) -> None:
    pairs = write_sets(tmp_path / "a", [[0, 1], [2, 3]])
    one = write_foreign_sets(tmp_path, [["x.jpg"], []], texts=["1", "2"], out="one")
    two = write_foreign_sets(tmp_path, [["x.jpg"], ["y.jpg"]], texts=["1", "3"], out="two")
    out = tmp_path / "all"
    lines = clipmine("concat", pairs.path, one.path, two.path, "--out", out)
    assert lines[-1] == f"next: clipmine serve {tmp_path / 'a' / 'store'} --pairs {out}"
    assert counts(lines) == {
        f"sets of {pairs.path}": 2,
        f"sets of {one.path}": 2,
        f"sets of {two.path}": 2,
        "- annotations": 2,
        "- there already": 1,
        "- under a new id": 1,
        "- annotations there already": 1,
        "sets written": 5,
        "annotations written": 3,
    }
    assert [each.set_id for each in ImageSets.open(out)][2:] == ["foreign-0", "foreign-1", "foreign-1~2"]
    summary = json.loads(clipmine("concat", pairs.path, one.path, two.path, "--out", out, "--json")[0])
    assert (summary["sets"], summary["annotations"], len(summary["inputs"])) == (5, 3, 3)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["concat", str(tmp_path / "nothing"), "--out", str(tmp_path / "all")]) == 2
    assert "nothing: no image sets" in capsys.readouterr().err
    assert run(["concat", "--out", str(tmp_path / "all")]) == 2
