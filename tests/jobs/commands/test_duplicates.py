"""`clipmine duplicates`: what it prints, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.index.duplicates.worlds import groups_of, with_copies
from tests.index.vectors import vector_store
from tests.jobs.running import Fails, Run, counts

VECTORS = with_copies(300, 60)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return vector_store(tmp_path / "store", VECTORS).path


def test_the_summary_adds_up_and_says_what_was_searched(store: Path, clipmine: Run) -> None:
    found = counts(clipmine("duplicates", store))
    assert found["rows"] == found["- in groups of near-duplicates"] + found["- alone"] == 300
    assert found["groups"] == len({int(group) for row, group in enumerate(groups_of(VECTORS)) if group != row})
    assert found["rows searched now"] == 300
    assert counts(clipmine("duplicates", store))["rows searched now"] == 0


def test_json_holds_the_summary(store: Path, clipmine: Run) -> None:
    summary = json.loads(clipmine("duplicates", store, "--threshold", 0.97, "--json")[0])
    assert (summary["threshold"], summary["rows"]) == (0.97, 300)


def test_errors_are_one_line(store: Path, tmp_path: Path, fails: Fails) -> None:
    assert fails("duplicates", store, "--threshold", 2)[1] == 2
    line, _ = fails("duplicates", tmp_path / "nothing")
    assert "there is no such store" in line
