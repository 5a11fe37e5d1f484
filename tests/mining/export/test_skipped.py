"""The sets that an export skips: how they are worded, counted and named."""

from __future__ import annotations

import logging

import pytest

from mining.export.skipped import NAMED, Counted, SetsExport, SkippedSet, warn


def test_a_skipped_set_says_which_row_was_the_reason() -> None:
    assert str(SkippedSet("2_3", 3, "forgotten")) == "set 2_3: row 3 is forgotten"
    assert str(SkippedSet("2_3", None, "without a caption")) == "set 2_3: without a caption"


def test_all_are_counted_by_reason_and_the_first_are_named() -> None:
    counted = Counted()
    for number in range(NAMED + 5):
        counted(SkippedSet(f"{number}_99", None if number % 2 else 99, "missing" if number % 2 else "forgotten"))
    assert counted.reasons == {"forgotten": 8, "missing": 7}
    assert len(counted.named) == NAMED
    assert counted.named[0] == "set 0_99: row 99 is forgotten"


def test_the_default_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "clipmine.mining"):
        warn(SkippedSet("2_3", 3, "missing"))
    assert caplog.messages == ["skipped set 2_3: row 3 is missing"]


def test_a_summary_adds_up() -> None:
    summary = SetsExport("out", 5, 3, {"missing": 2}, ["set 2_3: row 3 is missing"])
    assert summary.asked == summary.written + sum(summary.skipped.values())
