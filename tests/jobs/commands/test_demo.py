"""`clipmine demo`: its options reach the run, and its summary holds the figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.demo.run import DemoSummary
from tests.jobs.running import Fails, Run, counts

SUMMARY = DemoSummary(
    out="d", report="d/report.html", scenes=60, rows=60, selected=9, exported=8, mined=7,
    zero_shot_before=0.5, zero_shot_after=0.75, seconds=1.5, stages={"draw": 1.0},
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of the run, which only returns a summary; `tests/jobs/demo/test_run.py` runs it for real."""
    found: dict[str, Any] = {}

    def answer(out: str, **choices: Any) -> DemoSummary:
        found.update(out=out, **choices)
        return SUMMARY

    monkeypatch.setattr("jobs.demo.run.run_demo", answer)
    return found


def test_options_reach_the_run_and_figures_the_summary(asked: dict[str, Any], clipmine: Run) -> None:
    lines = clipmine("demo", "--out", "d", "--scenes", 60, "--executor", "local", "--workers", 2)
    assert asked == {"out": "d", "scenes": 60, "executor": "local", "workers": 2}
    assert counts(lines)["pairs mined"] == 7
    assert [line.split()[-1] for line in lines if line.startswith("zero-shot")] == ["50.0%", "75.0%"]
    assert lines[-1].split() == ["look", "at", "d/report.html"]
    assert json.loads(clipmine("demo", "--json")[0])["zero_shot_after"] == 0.75


def test_too_few_scenes_are_one_line(fails: Fails) -> None:
    assert fails("demo", "--scenes", 5) == ("clipmine: error: --scenes 5: the demo needs at least 60", 2)
