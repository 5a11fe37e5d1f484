"""The jobs on image sets as functions: what the commands do, with plain arguments, and bad input before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clipmine
from index.errors import BadInput, OutputExists
from tests.mining.made_sets import write_foreign_sets


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: clipmine.mine(out, "similr", out), "similr"),
        (lambda out: clipmine.import_sets("r.json", "lava", out), "--format 'lava': choose from cad-inst"),
        (lambda out: clipmine.import_sets("r.json", "llava", out, sets=3), "unknown option sets: choose from .*kind"),
        (lambda out: clipmine.evaluate_lmm("llava", "bison", out=out), "task bison: where are its questions"),
        (lambda out: clipmine.evaluate_lmm("llava", "bison", out=out, shots=5), "unknown option shots: choose from"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(call: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(clipmine.ClipmineError, match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("strategy", ["random", "similar"])
def test_only_the_rows_of_a_frame_are_mined(strategy: str, store: Path, tmp_path: Path) -> None:
    rows = pd.DataFrame({"row_id": [*range(0, 33, 2)]})
    choices: dict[str, Any] = {"sets": 4, "near_duplicates": 1.0}
    sets = clipmine.mine(store, strategy, tmp_path / "pairs", rows=rows, **choices)
    found = {member.row_id for each in sets for member in each.members}
    assert len(sets) > 0
    assert found <= set(rows["row_id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "store"]
    # Called again, the same rows are found finished, and others are refused.
    assert len(clipmine.mine(store, strategy, tmp_path / "pairs", rows=rows[::-1], **choices)) == len(sets)
    for other in (rows[1:], None):
        with pytest.raises(OutputExists, match=r"pairs: holds the output of another configuration"):
            clipmine.mine(store, strategy, tmp_path / "pairs", rows=other, **choices)


def test_rows_that_cannot_be_mined_leave_nothing(store: Path, tmp_path: Path) -> None:
    for rows, message in (
        ({"row_id": [1]}, "the rows of .* has 1 row that may be mined"),
        ({"row_id": [1, 99]}, "has no row 99"),
        ({"id": [1]}, "no column 'row_id' or 'key'"),
    ):
        with pytest.raises(BadInput, match=message):
            clipmine.mine(store, "random", tmp_path / "pairs", rows=pd.DataFrame(rows))
    with pytest.raises(BadInput, match="str: give a data frame"):
        clipmine.mine(store, "random", tmp_path / "pairs", rows="rows.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_foreign_collection_is_imported(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("file,text\na.jpg,A bus.\n")
    sets = clipmine.import_sets(
        tmp_path / "table.csv", "table", tmp_path / "pairs", images=[tmp_path], columns="image=file,caption=text"
    )
    assert [member.caption for each in sets for member in each.members] == ["A bus."]


def test_image_sets_are_annotated(tmp_path: Path) -> None:
    pairs = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]])
    summary = clipmine.annotate(pairs.path, "choice", name="choices")
    assert (summary.sets, summary.annotated) == (2, 2)
    found = clipmine.ImageSets.open(pairs.path).with_annotations(kind="choice")
    assert [each.annotations[0].annotator.name for each in found] == ["captions", "captions"]
    with pytest.raises(clipmine.ClipmineError, match="unknown option modle"):
        clipmine.annotate(pairs.path, modle="m")
