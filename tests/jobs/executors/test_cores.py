"""Sharing cores: every split uses them without oversubscription."""

from __future__ import annotations

import pytest

from jobs.executors.cores import share_cores


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "expected"),
    [
        (8, None, None, (1, 8)),  # one worker with all cores
        (8, None, 4, (2, 4)),
        (8, None, 3, (2, 3)),
        (8, 4, None, (4, 2)),
        (8, 4, 1, (4, 1)),
        (8, 4, 6, (4, 2)),  # fewer threads than asked for
        (2, None, 4, (1, 2)),
        (2, 5, None, (5, 1)),  # more workers than cores
    ],
)
def test_cores_are_shared(cores: int, workers: int | None, threads: int | None, expected: tuple[int, int]) -> None:
    assert share_cores(cores, workers, threads) == expected
