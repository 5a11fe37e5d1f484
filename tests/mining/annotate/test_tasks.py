from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.annotate.tasks import make_rule_task, make_task, view_for
from tests.mining.made_sets import write_foreign_sets


def test_every_kind_is_made_by_its_name() -> None:
    assert all(make_task(kind).kind == kind for kind in ("comparison", "cad-qa", "judge"))
    assert all(make_rule_task(kind).kind == kind for kind in ("comparison", "choice"))
    assert make_task("comparison", from_images=True).needs_images


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("story", {}, "choose one of comparison, cad-qa, judge, choice"),
        ("choice", {}, "needs no model"),
        ("comparison", {"colour": 1}, "has no option 'colour'; it takes from_images"),
        ("cad-qa", {"from_images": True}, "it takes summary, rounds, seed"),
    ],
)
def test_unknown_kinds_and_options_are_refused(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make_task(kind, **options)


def test_rules_make_no_questions() -> None:
    with pytest.raises(BadInput, match="--kind cad-qa asks a model: it needs --annotator openai or transformers"):
        make_rule_task("cad-qa")


def test_the_view_has_the_annotations_that_the_task_reads(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]], texts=["Commonalities:\n1. A.\nDifferences:\n1. B."])

    assert view_for(make_task("comparison"), sets) is sets
    (each,) = view_for(make_task("cad-qa"), sets)
    assert len(each.annotations) == 1
    assert make_task("cad-qa").asked(each, (), 0)[0].parent == each.annotations[0]
    with pytest.raises(BadInput, match="difference_note"):
        view_for(make_task("comparison", from_images=True, refine="difference_note"), sets)


def test_tasks_are_made_without_heavy_imports() -> None:
    code = "import sys; from mining.annotate.tasks import make_task; make_task('judge'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
