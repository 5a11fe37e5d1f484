"""The jobs on image sets as functions: what the commands do, with plain arguments, and bad input before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import clipmine
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
