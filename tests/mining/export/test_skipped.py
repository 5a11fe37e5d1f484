from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mining.export.skipped import NAMED, Counted, LoggedSkips, SkippedSet, tell_unused


def test_a_skipped_set_says_which_image_and_why() -> None:
    assert str(SkippedSet("a", 1, "photos/2.jpg", "missing")) == "set a, image 2 (photos/2.jpg): missing"
    assert str(SkippedSet("a", None, None, "without a caption")) == "set a: without a caption"


def test_all_are_counted_and_the_first_are_named() -> None:
    counted = Counted({"rejected by a person": 2})
    for number in range(NAMED + 5):
        counted(SkippedSet(str(number), None, None, "missing" if number % 2 else "forgotten"))
    assert counted.reasons == {"rejected by a person": 2, "forgotten": 8, "missing": 7}
    assert len(counted.named) == NAMED
    assert counted.named[0] == "set 0: forgotten"


def test_a_set_of_several_samples_is_named_once() -> None:
    counted = Counted()
    for _ in range(4):
        counted(SkippedSet("a", 0, "photos/1.jpg", "missing"))
    assert (counted.reasons, len(counted.named)) == ({"missing": 4}, 1)


def test_the_log_names_the_first_and_counts_all(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), LoggedSkips() as logged:
        for number in range(2_000):
            for _ in range(4):
                logged(SkippedSet(str(number), 0, "photos/1.jpg", "missing" if number % 4 else "forgotten"))
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "skipped set 0, image 1 (photos/1.jpg): forgotten"
    assert said[NAMED:] == ["skipped sets: 1,500: missing; 500: forgotten"]


def test_nothing_skipped_is_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with LoggedSkips():
        pass
    assert caplog.records == []


class Lacking:
    rejected = 3

    def unused(self) -> Iterator[SkippedSet]:
        return (SkippedSet(str(number), None, None, "has no annotation") for number in range(1_000))

    def unused_counts(self) -> dict[str, int]:
        return {"has no annotation": 1_000}


def test_sets_without_a_sample_are_told_to_the_caller_or_named_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    told: list[SkippedSet] = []
    with caplog.at_level(logging.INFO), LoggedSkips() as logged:
        tell_unused(Lacking(), told.append, logged)
    assert len(told) == 1_000
    assert [record.getMessage() for record in caplog.records] == ["skipped 3 sets: rejected by a person"]
    caplog.clear()
    with caplog.at_level(logging.WARNING), LoggedSkips() as logged:
        tell_unused(Lacking(), None, logged)
    said = [record.getMessage() for record in caplog.records]
    assert said[NAMED:] == ["skipped sets: 1,000: has no annotation"]
