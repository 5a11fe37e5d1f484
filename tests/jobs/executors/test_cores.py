"""Sharing cores: every split uses them without oversubscription."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jobs.executors.cores import share_cores, usable_cores


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


def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    program = (
        f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); "
        "from jobs.executors.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert usable_cores() == len(os.sched_getaffinity(0))
