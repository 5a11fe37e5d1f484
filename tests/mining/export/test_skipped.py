from __future__ import annotations

import logging

import pytest

from mining.export.skipped import NAMED, Counted, SkippedSet, warn


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


def test_the_log_is_the_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn(SkippedSet("a", 0, "photos/1.jpg", "forgotten"))
    assert "skipped set a, image 1 (photos/1.jpg): forgotten" in caplog.text
