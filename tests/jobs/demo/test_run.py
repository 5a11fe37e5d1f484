"""The whole demo on very few scenes: every stage runs, the report counts, and a second run does nothing again."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.demo import customize_stage, pairs_stage, run, settings
from jobs.demo.by_hand import commands
from jobs.demo.run import run_demo
from tests.folders import file_times

SCENES = 60


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that take seconds."""
    monkeypatch.setattr(run, "EXCLUDED", 20)
    (tmp_path / "concepts.txt").write_text("dog\npenguin\nblicket\n")
    monkeypatch.setattr(run, "CONCEPTS", str(tmp_path / "concepts.txt"))
    for module in (run, customize_stage):
        monkeypatch.setattr(module, "HELD_OUT", 1)
    monkeypatch.setattr(pairs_stage, "STRATEGY_SETS", 2)
    for name, value in {"steps": 1, "batch_size": 2}.items():
        monkeypatch.setitem(settings.CUSTOMIZE, name, value)


def test_too_few_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--scenes 59: the demo needs at least 60"):
        run_demo(str(tmp_path / "demo"), scenes=59, executor="local")
    assert not (tmp_path / "demo").exists()


def test_every_stage_runs_once(little: None, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    summary = run_demo(str(out), scenes=SCENES, executor="local", workers=1)
    assert (summary.scenes, summary.rows) == (SCENES, SCENES)
    assert summary.selected > 0
    assert 0 < summary.exported <= summary.selected
    assert summary.mined > 0
    assert list(summary.stages) == [
        "draw",
        "embed",
        "embed the evaluation set",
        "index",
        "retrieve",
        "export",
        "mine",
        "customize",
    ]
    page = (out / "report.html").read_text()
    for line in commands(str(out), SCENES, "local", 1):
        assert escape(line.split(" --")[0]) in page
    assert f"<b>{SCENES}</b><span>rows embedded</span>" in page
    kept = ("corpus", "store/img_emb", "store/index/image", "selection", "export", "pairs")
    before = {name: file_times(out / name) for name in kept}
    again = run_demo(str(out), scenes=SCENES, executor="local", workers=1)
    assert (again.selected, again.mined, again.stages) == (summary.selected, summary.mined, summary.stages)
    for name in kept:
        assert before[name] == file_times(out / name), name
    with pytest.raises(BadInput, match="holds a demo of 60 scenes"):
        run_demo(str(out), scenes=SCENES + 1, executor="local")
    assert json.loads((out / "demo.json").read_text()) == {"scenes": SCENES}
