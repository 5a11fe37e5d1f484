"""Progress of annotation in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobs.annotate_progress import AnnotateProgress
from mining.annotate.budget import Limits
from tests.mining.annotate.asking import FunctionModel, annotate
from tests.mining.made_sets import many_pairs, write_sets


def test_lines_say_answers_tokens_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    pairs = write_sets(tmp_path, many_pairs(12, 20))
    progress = AnnotateProgress(20)
    with progress:
        annotate(pairs, FunctionModel(), on_progress=progress.note, limits=Limits(price_in=1.0, price_out=1.0))
    first, last = log.getvalue().splitlines()
    assert first == "annotate: 20 sets"
    assert last.startswith("annotate: 20/20 sets, ")
    for words in (" answers/s, ", " tokens/s, cost ", "took "):
        assert words in last


def test_rules_have_sets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    progress = AnnotateProgress(2)
    with progress:
        progress.note_decided(1)
        progress.note_decided(2)
    assert log.getvalue().splitlines()[-1].startswith("annotate: 2/2 sets, took ")
